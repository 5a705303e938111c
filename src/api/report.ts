/**
 * Tables, pictures, animations and run logs. What draws them is not installed with this package: an error of code
 * `NOT_INSTALLED` says what to install.
 */
export { type Movement, saveAnimation } from '../report/animation.ts';
export { confusionSpec } from '../report/confusion.ts';
export { curveSpec, type SeedCurve } from '../report/curve.ts';
export { type EnergySets, type HistogramOptions, histogramSpec } from '../report/histogram.ts';
export { type PictureSpec, renderSvg, savePicture, type Titles } from '../report/picture.ts';
export { type RooflinePoint, rooflineSpec } from '../report/roofline.ts';
export { type RunEvent, RunLog } from '../report/run-log.ts';
export {
  type EmbedOptions,
  embedLatents,
  type LatentSets,
  type ScatterPanel,
  scatterSpec,
} from '../report/scatter.ts';
export { formatMeanStd, type MeanStd, meanStd } from '../report/stats.ts';
export { type Column, renderTable, type TableFormat } from '../report/table.ts';
export {
  type TradeoffCurve,
  type TradeoffPanel,
  type TradeoffPoint,
  tradeoffSpec,
} from '../report/tradeoff.ts';
export { type EpochPoint, trainingSpec } from '../report/training.ts';
export { type TsneOptions, tsne } from '../report/tsne.ts';
