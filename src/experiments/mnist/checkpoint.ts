import { stateOf, stateTensors } from '../../eli/aligner.ts';
import type { AlignerState } from '../../eli/fit.ts';
import { brief, EliError, isRecord } from '../../errors.ts';
import { wholeNumber } from '../../files/json.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import type { TrainerState } from '../../train/trainer.ts';
import { loadCheckpoint, lossesOf, lossesToTensors, saveCheckpoint } from '../checkpoint.ts';
import { type MnistConfig, mnistConfig } from './config.ts';

/** A point of the accuracy curve: task-1 test accuracy in % after so many aligner iterations. */
export interface CurvePoint {
  readonly iteration: number;
  readonly accuracy: number;
}

/** Where a run stands: everything it needs to resume bit for bit. */
export interface MnistCheckpoint {
  readonly config: MnistConfig;
  /** Epochs done of task 1 and of task 2. */
  readonly epochs: readonly [number, number];
  readonly classifier: TrainerState;
  /** Losses of the steps done of the epoch under way. */
  readonly losses: readonly number[];
  /** The network after task 1: its base is the previous model, its head 1 the saved head. */
  readonly afterTask1?: StateDict;
  readonly aligner?: AlignerState;
  readonly curve: readonly CurvePoint[];
  /** Lines of the log that belong to what is done. */
  readonly logLength: number;
}

const FORMAT = 'eli-webgpu mnist run';

/** Writes a checkpoint atomically: a run that is killed keeps the one before. */
export async function writeCheckpoint(folder: string, checkpoint: MnistCheckpoint): Promise<void> {
  const { config, classifier, losses, afterTask1 = {}, aligner, epochs, curve, logLength } = checkpoint;
  await saveCheckpoint(
    folder,
    FORMAT,
    config,
    { epochs, iteration: aligner?.iteration ?? null, curve, logLength },
    {
      ...stateToTensors(classifier.optimizer, 'optimizer.'),
      ...stateToTensors(classifier.model, 'net.'),
      ...lossesToTensors(losses),
      ...stateToTensors(afterTask1, 'after_task1.'),
      ...(aligner === undefined ? {} : stateTensors(aligner, 'aligner.')),
    },
  );
}

/**
 * Where the run in `folder` stands; `undefined` for one that was stopped before its first checkpoint.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export function readCheckpoint(folder: string): Promise<MnistCheckpoint | undefined> {
  return loadCheckpoint(folder, FORMAT, (file, part, saved) => {
    // Keys that came later have their defaults.
    const config = mnistConfig(part);
    const progress = progressOf(saved, config);
    const optimizer = stateFromTensors(file.tensors, 'optimizer.');
    for (const name of ['momentum', 'squares', 'hyper']) {
      if (optimizer[name] === undefined) throw new EliError('FORMAT', `optimizer.${name} is missing`);
    }
    const afterTask1 = stateFromTensors(file.tensors, 'after_task1.');
    return {
      config,
      epochs: progress.epochs,
      classifier: { step: 0, model: stateFromTensors(file.tensors, 'net.'), optimizer },
      losses: lossesOf(file),
      ...(Object.keys(afterTask1).length === 0 ? {} : { afterTask1 }),
      ...(progress.iteration === null ? {} : { aligner: stateOf(file, progress.iteration, 'aligner.') }),
      curve: progress.curve,
      logLength: progress.logLength,
    };
  });
}

interface Progress {
  readonly epochs: readonly [number, number];
  /** Of the aligner; null before its first. */
  readonly iteration: number | null;
  readonly curve: readonly CurvePoint[];
  readonly logLength: number;
}

function progressOf(
  { epochs, iteration, curve, logLength }: Record<string, unknown>,
  config: MnistConfig,
): Progress {
  if (!Array.isArray(epochs) || epochs.length !== 2)
    throw new EliError('FORMAT', `epochs is ${brief(epochs)}, must be two numbers`);
  if (!Array.isArray(curve)) throw new EliError('FORMAT', `curve is ${brief(curve)}, must be a list`);
  const [first, second] = epochs.map((n, i) => wholeNumber(`epochs[${i}]`, n, config.epochs)) as [
    number,
    number,
  ];
  return {
    epochs: [first, second],
    iteration: iteration === null ? null : wholeNumber('iteration', iteration, config.iterations),
    curve: curve.map((point, i) => pointOf(point, i, config)),
    logLength: wholeNumber('logLength', logLength),
  };
}

function pointOf(value: unknown, i: number, config: MnistConfig): CurvePoint {
  const { iteration, accuracy } = isRecord(value) ? value : {};
  if (typeof accuracy !== 'number')
    throw new EliError('FORMAT', `curve[${i}] is ${brief(value)}, must have an accuracy`);
  return { iteration: wholeNumber(`curve[${i}].iteration`, iteration, config.iterations), accuracy };
}
