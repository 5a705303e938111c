import {
  type ConfigOf,
  ConfigTable,
  choice,
  flag,
  number,
  numbers,
  type Values,
  whole,
} from '../../config.ts';
import { EliError } from '../../errors.ts';
import { adamw, type Optimizer, type ParameterGroup, sgd } from '../../optim/optimizer.ts';
import {
  constantRate,
  cosineRate,
  multiStepRate,
  type RateSchedule,
  stepRate,
  warmUp,
} from '../../optim/schedules.ts';
import { PRECISIONS } from '../../train/objective.ts';
import { MODELS } from './models.ts';

export const DATASETS = ['mnist', 'fashion-mnist', 'cifar10', 'cifar100'] as const;
const isCifar = ({ data }: Values): boolean => data === 'cifar10' || data === 'cifar100';

const KEYS = {
  model: choice('network', Object.keys(MODELS), {
    default: (values) => (isCifar(values) ? 'resnet20' : 'cnn'),
    defaultText: 'resnet20 for CIFAR, else cnn',
  }),
  data: choice('data set', DATASETS, { default: 'mnist' }),
  seed: whole('seed of the weights, the order and the augmentation', { default: 1, from: 0 }),
  batch: whole('mini-batch size', { default: 128, from: 1, to: 65_536 }),
  optimizer: choice('update rule', ['sgd', 'adamw'], { default: 'sgd' }),
  learningRate: number('initial learning rate', {
    default: ({ optimizer }) => (optimizer === 'sgd' ? 0.1 : 0.001),
    defaultText: '0.1 for sgd, 0.001 for adamw',
    from: 0,
    to: 1e3,
  }),
  momentum: number('momentum of sgd', { default: 0.9, from: 0, below: 1 }),
  nesterov: flag("Nesterov's momentum for sgd", { default: false }),
  weightDecay: number('weight decay of weights; biases and normalisation have none', {
    default: ({ optimizer }) => (optimizer === 'sgd' ? 5e-4 : 0.01),
    defaultText: '0.0005 for sgd, 0.01 for adamw',
    from: 0,
    to: 1e3,
  }),
  schedule: choice('how the learning rate falls', ['constant', 'step', 'multi-step', 'cosine'], {
    default: 'cosine',
  }),
  milestones: numbers('epochs after which the rate falls; for step, the first is the period', {
    default: ({ epochs }) => [
      Math.max(1, Math.floor(Number(epochs) / 2)),
      Math.max(2, Math.floor((3 * Number(epochs)) / 4)),
    ],
    defaultText: 'half and three quarters of the epochs',
  }),
  gamma: number('factor by which the rate falls', { default: 0.1, from: 0, to: 1 }),
  warmup: number('epochs of linear warm-up of the rate', { default: 0, from: 0, to: 1e6 }),
  clipNorm: number('largest norm of all gradients together; 0: no clipping', {
    default: 0,
    from: 0,
    to: 1e9,
  }),
  labelSmoothing: number('share of the target spread over all classes', {
    default: 0,
    from: 0,
    below: 1,
  }),
  emaDecay: number('decay of a moving average of the weights, which is then evaluated and saved; 0: none', {
    default: 0,
    from: 0,
    below: 1,
  }),
  augment: choice('random augmentation of training images', ['none', 'crop-flip'], {
    default: (values) => (isCifar(values) ? 'crop-flip' : 'none'),
    defaultText: 'crop-flip for CIFAR, else none',
  }),
  cutout: whole('side of a square cut out of each training image; 0: none', { default: 0, from: 0 }),
  mixup: number('α of mixup; 0: none', { default: 0, from: 0, to: 100 }),
  // Free, unlike epochs: it does not change the learning rates of steps already done.
  patience: whole('epochs without a better test accuracy after which training stops; 0: never', {
    default: 0,
    from: 0,
    free: true,
  }),
  precision: choice(
    'mixed: f16 activations and a scaled loss with f32 weights, if the adapter has f16',
    PRECISIONS,
    { default: 'f32' },
  ),
  epochs: whole('epochs', {
    default: (values) => (isCifar(values) ? 100 : 5),
    defaultText: '100 for CIFAR, else 5',
    from: 1,
    to: 1e6,
  }),
};

/** Everything that determines the outcome of `eli train`; the usual defaults depend on data and optimiser. */
export const TRAIN_KEYS = new ConfigTable('config key', KEYS, scheduleOf);

export interface TrainConfig extends ConfigOf<ConfigTable<typeof KEYS>> {}

/**
 * Completes a partial config.
 * @throws EliError `CONFIG` for an unknown key or a value out of range, naming it, or a schedule that does not fit.
 */
export const trainConfig = (part: Partial<TrainConfig>): TrainConfig => TRAIN_KEYS.complete(part);

/** The learning rate by epoch. @throws EliError `CONFIG` for milestones that do not rise */
export function scheduleOf(config: TrainConfig): RateSchedule {
  const { learningRate: rate, milestones, gamma, epochs, warmup } = config;
  try {
    const schedules: Record<TrainConfig['schedule'], () => RateSchedule> = {
      constant: () => constantRate(rate),
      step: () => stepRate(rate, milestones[0] ?? Number.NaN, gamma),
      'multi-step': () => multiStepRate(rate, milestones, gamma),
      cosine: () => cosineRate(rate, Math.max(1, epochs - warmup)),
    };
    const schedule = schedules[config.schedule]();
    return warmup > 0 ? warmUp(warmup, schedule) : schedule;
  } catch (cause) {
    throw new EliError('CONFIG', `schedule ${config.schedule}: ${(cause as Error).message}`, { cause });
  }
}

/** The optimiser of a config; `groups` say which parameters decay. */
export function optimizerOf(config: TrainConfig, groups: readonly ParameterGroup[]): Optimizer {
  const { learningRate, weightDecay, momentum, nesterov, clipNorm } = config;
  const common = { learningRate, weightDecay, ...(clipNorm > 0 ? { clipNorm } : {}) };
  return config.optimizer === 'sgd' ? sgd(groups, { ...common, momentum, nesterov }) : adamw(groups, common);
}
