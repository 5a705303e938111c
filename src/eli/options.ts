import type { SamplerVariant } from '../ebm/chains.ts';
import { ENERGY_DEFAULTS } from '../ebm/energy-model.ts';
import { EliError } from '../errors.ts';
import { brief, isRecord } from '../files/json.ts';
import { STARTS, type Start } from './chain-start.ts';

/** How an aligner is learnt; the defaults are those of the original's MNIST experiment. */
export interface AlignerOptions {
  /** Seed of the energy's initial weights and of the order of the data. */
  readonly seed?: number;
  readonly hidden?: number;
  readonly layers?: number;
  readonly slope?: number;
  readonly iterations?: number;
  readonly batch?: number;
  /** Langevin steps of a chain, in learning and in aligning. */
  readonly steps?: number;
  /** ε of a Langevin step. */
  readonly stepSize?: number;
  readonly learningRate?: number;
  /** RMSprop's α. */
  readonly alpha?: number;
  readonly epsilon?: number;
  /** Decay of the moving average of the weights, which aligns. */
  readonly emaDecay?: number;
  /** Weight of the mean squared energies in the loss, which keeps energies small; default 0, as in the original. */
  readonly energyL2?: number;
  /**
   * Where chains start, in learning and in aligning: `current` at the latents as they are (the original), `mean-shift`
   * at latents + mean(previous − current), `ridge` at the ridge map from current to previous latents.
   */
  readonly start?: Start;
  /** `plain`: ops and autodiff; `hidden`: fused kernels, four dispatches an iteration; `auto`: the fastest that can be used. */
  readonly variant?: Extract<SamplerVariant, 'auto' | 'plain' | 'hidden'>;
}

export type AlignerConfig = Required<AlignerOptions>;

export const ALIGNER_DEFAULTS: AlignerConfig = {
  seed: 1,
  ...ENERGY_DEFAULTS,
  iterations: 17_100,
  batch: 128,
  steps: 30,
  stepSize: 0.1,
  learningRate: 1e-4,
  alpha: 0.99,
  epsilon: 1e-8,
  emaDecay: 0.99,
  energyL2: 0,
  start: 'current',
  variant: 'auto',
};

/** What each option means in a few words, for help texts. */
export const ALIGNER_KEYS: Readonly<Record<keyof AlignerConfig, string>> = {
  seed: "seed of the energy's initial weights and of the order of the data",
  hidden: 'hidden units of the energy',
  layers: 'hidden layers of the energy',
  slope: "slope of the energy's leaky ReLU",
  iterations: 'iterations of the aligner',
  batch: 'pairs of latents in a minibatch',
  steps: 'Langevin steps',
  stepSize: 'size of a Langevin step',
  learningRate: "learning rate of the aligner's RMSprop",
  alpha: "RMSprop's alpha",
  epsilon: "RMSprop's epsilon",
  emaDecay: 'decay of the moving average of the weights, which aligns',
  energyL2: 'weight of the mean squared energies in the loss',
  start: `where chains start: ${STARTS.join(', ')}`,
  variant: 'aligner iterations: auto, plain or hidden',
};

/** Options with defaults filled in. @throws EliError `CONFIG` naming the option, its value and what it must be. */
export function alignerConfig(options: AlignerOptions): AlignerConfig {
  if (!isRecord(options))
    throw new EliError('CONFIG', `the aligner's options are ${brief(options)}, must be an object`);
  const config = { ...ALIGNER_DEFAULTS };
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(ALIGNER_DEFAULTS, name)) {
      throw new EliError('CONFIG', `unknown aligner option ${name}`, {
        hint: `known: ${Object.keys(config).join(', ')}`,
      });
    }
    if (value !== undefined) Object.assign(config, { [name]: value });
  }
  const whole: [keyof AlignerConfig, number, number][] = [
    ['seed', 0, Number.MAX_SAFE_INTEGER],
    ['hidden', 1, 512],
    ['layers', 0, 7],
    ['iterations', 0, 1e9],
    // As many workgroups as one dimension may have.
    ['batch', 1, 65_535],
    ['steps', 1, 100_000],
  ];
  for (const [name, low, high] of whole) {
    const value = config[name] as number;
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new EliError(
        'CONFIG',
        `aligner option ${name} is ${brief(value)}, must be a whole number from ${low} to ${high}`,
      );
    }
  }
  const ranges: [keyof AlignerConfig, number, number][] = [
    ['slope', 0, 1],
    ['stepSize', 0, 1e6],
    ['learningRate', 0, 1e3],
    ['alpha', 0, 1],
    ['epsilon', 0, 1],
    ['emaDecay', 0, 1],
    ['energyL2', 0, 1e6],
  ];
  for (const [name, low, high] of ranges) {
    const value: unknown = config[name];
    if (!(typeof value === 'number' && value >= low && value <= high)) {
      throw new EliError(
        'CONFIG',
        `aligner option ${name} is ${brief(value)}, must be from ${low} to ${high}`,
      );
    }
  }
  const names: [keyof AlignerConfig, readonly string[]][] = [
    ['variant', ['auto', 'plain', 'hidden']],
    ['start', STARTS],
  ];
  for (const [name, known] of names) {
    if (!known.includes(config[name] as string)) {
      throw new EliError(
        'CONFIG',
        `aligner option ${name} is ${brief(config[name])}, must be one of ${known.join(', ')}`,
      );
    }
  }
  return config;
}
