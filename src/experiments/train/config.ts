import { EliError } from '../../errors.ts';
import { brief, isRecord } from '../../files/json.ts';
import type { Optimizer, ParameterGroup } from '../../optim/optimizer.ts';
import { adamw, sgd } from '../../optim/optimizer.ts';
import {
  constantRate,
  cosineRate,
  multiStepRate,
  type RateSchedule,
  stepRate,
  warmUp,
} from '../../optim/schedules.ts';
import { PRECISIONS, type Precision } from '../../train/precision.ts';
import { MODELS } from './models.ts';

export const DATASETS = ['mnist', 'fashion-mnist', 'cifar10', 'cifar100'] as const;
const OPTIMIZERS = ['sgd', 'adamw'] as const;
const SCHEDULES = ['constant', 'step', 'multi-step', 'cosine'] as const;
const AUGMENTATIONS = ['none', 'crop-flip'] as const;

/** Everything that decides the outcome of `eli train`. */
export interface TrainConfig {
  readonly model: string;
  readonly data: (typeof DATASETS)[number];
  readonly seed: number;
  readonly epochs: number;
  readonly batch: number;
  readonly optimizer: (typeof OPTIMIZERS)[number];
  readonly learningRate: number;
  readonly momentum: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  readonly schedule: (typeof SCHEDULES)[number];
  readonly milestones: readonly number[];
  readonly gamma: number;
  readonly warmup: number;
  readonly clipNorm: number;
  readonly labelSmoothing: number;
  readonly emaDecay: number;
  readonly augment: (typeof AUGMENTATIONS)[number];
  readonly cutout: number;
  readonly mixup: number;
  readonly patience: number;
  readonly precision: Precision;
}

/** What each key means, for the help text; also the list of all keys. */
export const TRAIN_KEYS: Readonly<Record<keyof TrainConfig, string>> = {
  model: `network: ${Object.keys(MODELS).join(', ')} (default: resnet20 for CIFAR, else cnn)`,
  data: `data set: ${DATASETS.join(', ')}`,
  seed: 'seed of weights, order and augmentation',
  epochs: 'epochs (default: 100 for CIFAR, else 5)',
  batch: 'images in a step',
  optimizer: `rule: ${OPTIMIZERS.join(', ')}`,
  learningRate: 'learning rate at first (default: 0.1 for sgd, 0.001 for adamw)',
  momentum: 'momentum of sgd',
  nesterov: "Nesterov's momentum for sgd",
  weightDecay:
    'weight decay of weights; biases and normalisation have none (default: 0.0005 for sgd, 0.01 for adamw)',
  schedule: `how the rate falls: ${SCHEDULES.join(', ')}`,
  milestones:
    'epochs after which it falls, separated by commas; for step, the first is the period (default: half and three quarters of the epochs)',
  gamma: 'factor by which the rate falls',
  warmup: 'epochs in which the rate rises linearly first',
  clipNorm: 'largest norm of all gradients together; 0: no limit',
  labelSmoothing: 'share of the target that is spread over all classes',
  emaDecay: 'decay of an average of the weights, which is evaluated and saved; 0: none',
  augment: `random changes of training images: ${AUGMENTATIONS.join(', ')} (default: crop-flip for CIFAR, else none)`,
  cutout: 'side of a square cut out of each training image; 0: none',
  mixup: 'α of mixup; 0: none',
  patience: 'epochs without a better test accuracy after which training stops; 0: never',
  precision: `${PRECISIONS.join(', ')}: f16 activations and a scaled loss beside f32 weights, where the adapter has f16`,
};

/**
 * A whole config from part of one; what is missing takes usual values, which depend on data and optimiser.
 * @throws EliError `CONFIG` for an unknown key or a value out of range, naming it.
 */
export function trainConfig(part: Partial<TrainConfig>): TrainConfig {
  if (!isRecord(part)) throw new EliError('CONFIG', `the config is ${brief(part)}, must be an object`);
  for (const key of Object.keys(part)) {
    if (!Object.hasOwn(TRAIN_KEYS, key)) {
      throw new EliError('CONFIG', `unknown config key ${key}`, {
        hint: `known: ${Object.keys(TRAIN_KEYS).join(', ')}`,
      });
    }
  }
  const { data = 'mnist', optimizer = 'sgd', batch = 128 } = part;
  const cifar = data === 'cifar10' || data === 'cifar100';
  const { epochs = cifar ? 100 : 5 } = part;
  // Before the others: the default milestones are made of it.
  checkNumber({ epochs }, 'epochs', 1, 1e6, true);
  const config: TrainConfig = {
    model: cifar ? 'resnet20' : 'cnn',
    data,
    seed: 1,
    batch,
    optimizer,
    learningRate: optimizer === 'sgd' ? 0.1 : 0.001,
    momentum: 0.9,
    nesterov: false,
    weightDecay: optimizer === 'sgd' ? 5e-4 : 0.01,
    schedule: 'cosine',
    milestones: [Math.max(1, Math.floor(epochs / 2)), Math.max(2, Math.floor((3 * epochs) / 4))],
    gamma: 0.1,
    warmup: 0,
    clipNorm: 0,
    labelSmoothing: 0,
    emaDecay: 0,
    augment: cifar ? 'crop-flip' : 'none',
    cutout: 0,
    mixup: 0,
    patience: 0,
    precision: 'f32',
    ...part,
    epochs,
  };
  checkName(config, 'model', Object.keys(MODELS));
  checkName(config, 'data', DATASETS);
  checkName(config, 'optimizer', OPTIMIZERS);
  checkName(config, 'schedule', SCHEDULES);
  checkName(config, 'augment', AUGMENTATIONS);
  checkName(config, 'precision', PRECISIONS);
  for (const key of ['seed', 'cutout', 'patience'] as const) checkNumber(config, key, 0, 2 ** 53 - 1, true);
  checkNumber(config, 'batch', 1, 65_536, true);
  checkNumber(config, 'learningRate', 0, 1e3);
  checkNumber(config, 'weightDecay', 0, 1e3);
  checkNumber(config, 'gamma', 0, 1);
  checkNumber(config, 'warmup', 0, 1e6);
  checkNumber(config, 'clipNorm', 0, 1e9);
  checkNumber(config, 'mixup', 0, 100);
  for (const key of ['momentum', 'labelSmoothing', 'emaDecay'] as const) {
    checkNumber(config, key, 0, 1);
    if (config[key] === 1) throw wrong(config, key, 'must be below 1');
  }
  if (!Array.isArray(config.milestones) || !config.milestones.every(Number.isFinite))
    throw wrong(config, 'milestones', 'must be a list of numbers');
  if (typeof config.nesterov !== 'boolean') throw wrong(config, 'nesterov', 'must be true or false');
  scheduleOf(config);
  return config;
}

function wrong(config: Partial<TrainConfig>, key: keyof TrainConfig, what: string): EliError {
  return new EliError('CONFIG', `${key} is ${brief(config[key])}, ${what}`);
}

function checkName(config: TrainConfig, key: keyof TrainConfig, names: readonly string[]): void {
  if (!names.includes(config[key] as string)) {
    throw wrong(config, key, `must be one of ${names.join(', ')}`);
  }
}

function checkNumber(
  config: Partial<TrainConfig>,
  key: keyof TrainConfig,
  low: number,
  high: number,
  whole = false,
): void {
  const value = config[key] as number;
  const kind = whole ? 'a whole number' : 'a number';
  if (!(typeof value === 'number' && value >= low && value <= high && (!whole || Number.isInteger(value)))) {
    throw wrong(config, key, `must be ${kind} from ${low} to ${high}`);
  }
}

/** The learning rate by epoch. @throws EliError `CONFIG` for milestones that do not rise. */
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

/** The optimiser of a config, over weights that decay and others that do not. */
export function optimizerOf(config: TrainConfig, groups: readonly ParameterGroup[]): Optimizer {
  const { learningRate, weightDecay, momentum, nesterov, clipNorm } = config;
  const common = { learningRate, weightDecay, ...(clipNorm > 0 ? { clipNorm } : {}) };
  return config.optimizer === 'sgd' ? sgd(groups, { ...common, momentum, nesterov }) : adamw(groups, common);
}
