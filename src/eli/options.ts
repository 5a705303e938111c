import { type ConfigOf, ConfigTable, choice, number, whole } from '../config.ts';
import { SIZES } from '../ebm/network.ts';
import { CLOSED_FORMS, type ClosedFormName } from './maps/closed-forms.ts';

/**
 * Where chains start: at the current model's latents (the original, which does not use the pairing), or where a closed
 * form fitted to the pairs moves them.
 */
export type Start = 'current' | ClosedFormName;

/** All starts, the original's first. */
export const STARTS: readonly Start[] = ['current', ...(Object.keys(CLOSED_FORMS) as ClosedFormName[])];

/** The keys of an aligner; the defaults are those of the original's MNIST experiment. */
export const ALIGNER_KEYS = new ConfigTable('aligner option', {
  seed: whole("seed of the energy's initial weights and of the order of the data", { default: 1, from: 0 }),
  hidden: whole('hidden units of the energy', { default: 64, ...SIZES.hidden }),
  layers: whole('hidden layers of the energy', { default: 1, ...SIZES.layers }),
  slope: number("slope of the energy's leaky ReLU", { default: 0.2, from: 0, to: 1 }),
  iterations: whole('iterations of the aligner', { default: 17_100, from: 0, to: 1e9 }),
  /** Limited by the workgroups of one dimension. */
  batch: whole('pairs of latents in a mini-batch', { default: 128, from: 1, to: 65_535 }),
  /** Steps of a chain, when learning and when aligning. */
  steps: whole('Langevin steps', { default: 30, from: 1, to: 100_000 }),
  /** ε of a Langevin step. */
  stepSize: number('size of a Langevin step', { default: 0.1, from: 0, to: 1e6 }),
  learningRate: number("learning rate of the aligner's RMSprop", { default: 1e-4, from: 0, to: 1e3 }),
  alpha: number("RMSprop's alpha", { default: 0.99, from: 0, to: 1 }),
  epsilon: number("RMSprop's epsilon", { default: 1e-8, from: 0, to: 1 }),
  emaDecay: number('decay of the moving average of the weights, which aligns', {
    default: 0.99,
    from: 0,
    to: 1,
  }),
  /** Keeps energies small; 0 in the original. */
  energyL2: number('weight of the mean squared energies in the loss', { default: 0, from: 0, to: 1e6 }),
  /**
   * When learning and when aligning: `current` at the latents as they are (the original), `mean-shift` at latents +
   * mean(previous − current), `ridge` at what the ridge map from current to previous latents makes of them.
   */
  start: choice('where chains start', STARTS, { default: 'current' }),
  /** `plain`: ops and autodiff; `hidden`: fused kernels, four dispatches per iteration; `auto`: the fastest possible. */
  variant: choice('how iterations of the aligner run', ['auto', 'plain', 'hidden'], { default: 'auto' }),
});

/** How an aligner is learnt; `eli align fit --help` shows the meaning, range and default of each key. */
export interface AlignerConfig extends ConfigOf<typeof ALIGNER_KEYS> {}

/** Part of an aligner's config: missing keys take their defaults. */
export interface AlignerOptions extends Partial<AlignerConfig> {}

/** The defaults: those of the original's MNIST experiment. */
export const ALIGNER_DEFAULTS: AlignerConfig = ALIGNER_KEYS.complete({});

/** Options with defaults filled in. @throws EliError `CONFIG` naming the option, its value and what it must be. */
export const alignerConfig = (options: AlignerOptions): AlignerConfig => ALIGNER_KEYS.complete(options);
