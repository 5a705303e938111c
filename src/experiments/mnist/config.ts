import { type ConfigOf, ConfigTable, number, type Values, whole } from '../../config.ts';
import { ALIGNER_KEYS, type AlignerConfig } from '../../eli/options.ts';

const { seed, batch, iterations, hidden, layers, slope, steps, stepSize, learningRate, ...others } =
  ALIGNER_KEYS.keys;

/** The original code chooses some constants of the aligner by the size of the latents. */
const byLatent = (small: number, large: number) => ({
  default: ({ latent }: Values): number => (latent === 32 ? small : large),
  defaultText: `${small} for latents of 32, else ${large}`,
});

/** Everything that determines the outcome of the MNIST experiment (ELI, section 3.3), including the aligner's keys. */
export const MNIST_KEYS = new ConfigTable('config key', {
  latent: whole('size of the latents', { default: 32, from: 1, to: 2048 }),
  seed: { ...seed, help: 'seed of the (first) run' },
  seeds: whole('number of runs, with seeds seed, seed + 1, …', { default: 1, from: 1, to: 1000, free: true }),
  epochs: whole('epochs of each task', { default: 10, from: 1, to: 10_000 }),
  batch: { ...batch, help: 'mini-batch size of the classifier and of the aligner' },
  learningRate: number("learning rate of the classifier's SGD", { default: 0.1, from: 0, to: 100 }),
  momentum: number("momentum of the classifier's SGD", { default: 0.9, from: 0, to: 100 }),
  iterations: { ...iterations, ...byLatent(17_100, 8_500) },
  hidden,
  layers,
  slope,
  steps,
  stepSize,
  alignerLearningRate: learningRate,
  ...others,
  emaDecay: { ...others.emaDecay, ...byLatent(0.99, 0.89) },
  curveEvery: whole('iterations between points of the curve', { default: 1_000, from: 1, to: 1e9 }),
  gateQuantile: number('share of held-out task-2 images below the threshold of a gate', {
    default: 0.9,
    from: 0,
    to: 1,
    free: true,
  }),
  statisticsQuantile: number('the same for a gate with saved statistics of task 1', {
    default: 0.97,
    from: 0,
    to: 1,
    free: true,
  }),
});

export interface MnistConfig extends ConfigOf<typeof MNIST_KEYS> {}

/** The aligner's part of a config. */
export const alignerOptions = (config: MnistConfig): AlignerConfig =>
  ALIGNER_KEYS.complete(ALIGNER_KEYS.pick({ ...config, learningRate: config.alignerLearningRate }));

/** Completes a partial config. @throws EliError `CONFIG` for an unknown key or a value out of range, naming it */
export const mnistConfig = (part: Partial<MnistConfig>): MnistConfig => MNIST_KEYS.complete(part);
