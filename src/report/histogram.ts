import { checkWhole, EliError } from '../errors.ts';
import { axisOver, colorBy, type PictureSpec, type Titles } from './picture.ts';
import { mean } from './stats.ts';
import { MODEL_COLORS } from './theme.ts';

/** Energies of the same task-1 test images, one per image; low: as under the previous model. */
export interface EnergySets {
  previous: Float32Array;
  current: Float32Array;
  aligned: Float32Array;
}

/** Share of the pooled values beyond each end of the axis; the end bins count them. */
const TAIL = 0.0005;
const BINS = 60;

/**
 * Counts the values of each of `sets` in `bins` equal bins shared by all; there is one edge more than bins. The bins
 * span the pooled values except for the outermost 0.05 % on either side, which the end bins count: an outlier does not
 * flatten the picture, and each row of counts still sums to the size of its set.
 *
 * @throws EliError ARGUMENT for an empty set or no bins, NON_FINITE for a value that is not finite
 */
export function sharedBins(
  sets: readonly Float32Array[],
  bins: number,
): { edges: number[]; counts: number[][] } {
  checkWhole('bins', bins, 1);
  if (sets.length === 0 || sets.some((set) => set.length === 0)) {
    throw new EliError('ARGUMENT', 'A histogram needs at least one value in every set');
  }
  const pooled = Float32Array.from(sets.flatMap((set) => [...set]));
  if (!pooled.every(Number.isFinite)) {
    throw new EliError('NON_FINITE', 'A histogram got a value that is not a finite number');
  }
  pooled.sort();
  const cut = Math.floor(TAIL * pooled.length);
  let low = pooled[cut];
  let high = pooled[pooled.length - 1 - cut];
  if (low === high) {
    low -= 0.5;
    high += 0.5;
  }
  const width = (high - low) / bins;
  const counts = sets.map((set) => {
    const row = new Array<number>(bins).fill(0);
    for (const value of set) row[Math.min(bins - 1, Math.max(0, Math.floor((value - low) / width)))]++;
    return row;
  });
  return { edges: Array.from({ length: bins + 1 }, (_, i) => low + i * width), counts };
}

export interface HistogramOptions extends Titles {
  /** What the energies are of; default `images`. */
  samples?: string;
}

/** Three translucent histograms over shared bins; a dashed line and the legend give the mean of each set. */
export function histogramSpec(sets: EnergySets, options: HistogramOptions = {}): PictureSpec {
  const groups = [
    { name: 'previous model', values: sets.previous, color: MODEL_COLORS.previous },
    { name: 'unaligned', values: sets.current, color: MODEL_COLORS.current },
    { name: 'aligned', values: sets.aligned, color: MODEL_COLORS.aligned },
  ].map((group) => ({ ...group, mean: mean(group.values) }));
  const { edges, counts } = sharedBins(
    groups.map((group) => group.values),
    BINS,
  );
  // A step line holds each value up to the next row, so the last bin is repeated at the last edge.
  const rows = groups.flatMap((group, g) =>
    edges.map((edge, b) => ({
      name: group.name,
      edge,
      share: (100 * (counts[g][b] ?? counts[g].at(-1)!)) / group.values.length,
    })),
  );
  const means = groups.map(({ name, mean }) => ({ name, mean, label: `${name}: mean ${format(mean)}` }));
  const [names, colors] = [groups.map((group) => group.name), groups.map((group) => group.color)];
  const color = colorBy('name', names, colors, {
    title: null,
    orient: 'top',
    symbolType: 'square',
    symbolOpacity: 1,
    labelExpr: `{${means.map((g) => `'${g.name}': '${g.label}'`).join(', ')}}[datum.label]`,
  });
  const x = axisOver('edge', [edges[0]!, edges.at(-1)!], {
    title: 'energy (low = like the previous model)',
    grid: false,
    tickCount: 10,
  });
  return {
    title: {
      text: options.title ?? 'Energies of task-1 images before and after alignment',
      subtitle:
        options.subtitle ?? `${sets.previous.length.toLocaleString('en')} test images; dashes mark the means`,
    },
    width: 620,
    height: 300,
    layer: [
      {
        data: { values: rows },
        mark: { type: 'area', interpolate: 'step-after', fillOpacity: 0.35, line: { strokeWidth: 1.5 } },
        encoding: {
          x,
          y: {
            field: 'share',
            type: 'quantitative',
            stack: null,
            axis: { title: `share of ${options.samples ?? 'images'} per bin (%)`, tickCount: 5 },
          },
          color,
        },
      },
      {
        data: { values: means },
        mark: { type: 'rule', strokeDash: [5, 3], strokeWidth: 2, clip: true },
        encoding: { x: { ...x, field: 'mean' }, color: { field: 'name', type: 'nominal' } },
      },
    ],
  };
}

function format(value: number): string {
  return value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace('-', '−');
}
