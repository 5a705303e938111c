import type { Start } from '../../eli/chain-start.ts';
import { ALIGNER_DEFAULTS, ALIGNER_KEYS, type AlignerOptions, alignerConfig } from '../../eli/options.ts';
import { EliError } from '../../errors.ts';
import { brief, isRecord } from '../../files/json.ts';

/** Everything that decides the outcome of a run of the MNIST experiment (ELI, section 3.3). */
export interface MnistConfig {
  /** Size d of the latents. */
  readonly latent: number;
  /** Seed of this run; with several seeds, of the first one. */
  readonly seed: number;
  /** Runs with seeds seed, seed + 1, …, of which mean and spread are reported. */
  readonly seeds: number;
  /** Epochs of each task. */
  readonly epochs: number;
  readonly batch: number;
  /** Learning rate and momentum of SGD on the classifier. */
  readonly learningRate: number;
  readonly momentum: number;
  /** Aligner iterations, and its other constants. */
  readonly iterations: number;
  readonly hidden: number;
  readonly layers: number;
  readonly slope: number;
  readonly steps: number;
  readonly stepSize: number;
  readonly alignerLearningRate: number;
  readonly alpha: number;
  readonly epsilon: number;
  readonly emaDecay: number;
  /** Where the aligner's chains start; `current` is the original. */
  readonly start: Start;
  readonly variant: 'auto' | 'plain' | 'hidden';
  /** Aligner iterations between points of the accuracy curve. */
  readonly curveEvery: number;
  /** Share of current-task samples that gates leave unaligned: gates without and with saved statistics. */
  readonly gateQuantile: number;
  readonly statisticsQuantile: number;
}

/** What each key means, for the help text; also the list of all keys. */
export const MNIST_KEYS: Readonly<Record<keyof MnistConfig, string>> = {
  latent: 'size of the latents',
  seed: 'seed of the (first) run',
  seeds: 'number of runs, with seeds seed, seed + 1, …',
  epochs: 'epochs of each task',
  batch: 'minibatch of the classifier and of the aligner',
  learningRate: "learning rate of the classifier's SGD",
  momentum: "momentum of the classifier's SGD",
  iterations: `${ALIGNER_KEYS.iterations} (default: 17100 for latents of 32, else 8500)`,
  hidden: ALIGNER_KEYS.hidden,
  layers: ALIGNER_KEYS.layers,
  slope: ALIGNER_KEYS.slope,
  steps: ALIGNER_KEYS.steps,
  stepSize: ALIGNER_KEYS.stepSize,
  alignerLearningRate: ALIGNER_KEYS.learningRate,
  alpha: ALIGNER_KEYS.alpha,
  epsilon: ALIGNER_KEYS.epsilon,
  emaDecay: `${ALIGNER_KEYS.emaDecay} (default: 0.99 for latents of 32, else 0.89)`,
  start: ALIGNER_KEYS.start,
  variant: ALIGNER_KEYS.variant,
  curveEvery: 'iterations between points of the curve',
  gateQuantile: 'share of held-out task-2 images below the threshold of a gate',
  statisticsQuantile: 'the same for a gate with saved statistics of task 1',
};

/**
 * A whole config from part of one; what is missing takes the original's values, which depend on the latent size.
 * @throws EliError `CONFIG` for an unknown key or a value out of range, naming it.
 */
export function mnistConfig(part: Partial<MnistConfig>): MnistConfig {
  if (!isRecord(part)) throw new EliError('CONFIG', `the config is ${brief(part)}, must be an object`);
  for (const key of Object.keys(part)) {
    if (!Object.hasOwn(MNIST_KEYS, key)) {
      throw new EliError('CONFIG', `unknown config key ${key}`, {
        hint: `known: ${Object.keys(MNIST_KEYS).join(', ')}`,
      });
    }
  }
  const small = (part.latent ?? 32) === 32;
  const config: MnistConfig = {
    latent: 32,
    seed: 1,
    seeds: 1,
    epochs: 10,
    batch: 128,
    learningRate: 0.1,
    momentum: 0.9,
    iterations: small ? 17_100 : 8_500,
    hidden: ALIGNER_DEFAULTS.hidden,
    layers: ALIGNER_DEFAULTS.layers,
    slope: ALIGNER_DEFAULTS.slope,
    steps: ALIGNER_DEFAULTS.steps,
    stepSize: ALIGNER_DEFAULTS.stepSize,
    alignerLearningRate: ALIGNER_DEFAULTS.learningRate,
    alpha: ALIGNER_DEFAULTS.alpha,
    epsilon: ALIGNER_DEFAULTS.epsilon,
    emaDecay: small ? 0.99 : 0.89,
    start: ALIGNER_DEFAULTS.start,
    variant: 'auto',
    curveEvery: 1_000,
    gateQuantile: 0.9,
    statisticsQuantile: 0.97,
    ...part,
  };
  checkWhole(config, 'latent', 1, 2048);
  checkWhole(config, 'seeds', 1, 1000);
  checkWhole(config, 'epochs', 1, 10_000);
  checkWhole(config, 'curveEvery', 1, 1e9);
  for (const [key, high] of [
    ['learningRate', 100],
    ['momentum', 100],
    // The aligner calls it learningRate, as another key here.
    ['alignerLearningRate', 1000],
    ['gateQuantile', 1],
    ['statisticsQuantile', 1],
  ] as const) {
    const value: unknown = config[key];
    if (!(typeof value === 'number' && value >= 0 && value <= high)) {
      throw new EliError('CONFIG', `${key} is ${brief(value)}, must be a number from 0 to ${high}`);
    }
  }
  alignerConfig(alignerOptions(config));
  return config;
}

function checkWhole(
  config: MnistConfig,
  key: 'latent' | 'seeds' | 'epochs' | 'curveEvery',
  low: number,
  high: number,
): void {
  const value = config[key];
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new EliError('CONFIG', `${key} is ${brief(value)}, must be a whole number from ${low} to ${high}`);
  }
}

/** What may change when a run is resumed: it decides nothing of what is learnt. */
export const FREE_KEYS: ReadonlySet<keyof MnistConfig> = new Set([
  'seeds',
  'gateQuantile',
  'statisticsQuantile',
]);

/** The part of the config that is the aligner's. */
export function alignerOptions(config: MnistConfig): AlignerOptions {
  const {
    seed,
    hidden,
    layers,
    slope,
    iterations,
    batch,
    steps,
    stepSize,
    alpha,
    epsilon,
    emaDecay,
    start,
    variant,
  } = config;
  return {
    seed,
    hidden,
    layers,
    slope,
    iterations,
    batch,
    steps,
    stepSize,
    learningRate: config.alignerLearningRate,
    alpha,
    epsilon,
    emaDecay,
    start,
    variant,
  };
}
