/** The energy-based latent aligner, gates that decide where it is applied, simpler maps beside it. */
export { EnergyAligner, type FitHooks, type FitProgress } from '../eli/aligner.ts';
export * from '../eli/apply.ts';
export * from '../eli/drift.ts';
export type { AlignerState, LatentPairs } from '../eli/fit.ts';
export * from '../eli/gates/all.ts';
export * from '../eli/gates/file.ts';
export * from '../eli/gates/learn.ts';
export {
  CLOSED_FORMS,
  ClosedForm,
  type ClosedFormName,
  fitMap,
  MeanShift,
  RidgeMap,
} from '../eli/maps/closed-forms.ts';
export { loadMap } from '../eli/maps/load.ts';
export type { LatentMap } from '../eli/maps/map.ts';
export * from '../eli/measure.ts';
export { ALIGNER_DEFAULTS, type AlignerConfig, type AlignerOptions, type Start } from '../eli/options.ts';
export { CachedGate } from '../eli/policies/cached-gate.ts';
export * from '../eli/policies/evaluate.ts';
export * from '../eli/policies/scores.ts';
export { choosePairs, maxRows, type RowHooks, readRows } from '../eli/rows.ts';
