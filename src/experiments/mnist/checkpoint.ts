import { stateOf, stateTensors } from '../../eli/aligner.ts';
import type { AlignerState } from '../../eli/fit.ts';
import { EliError } from '../../errors.ts';
import { brief, isRecord, wholeNumber } from '../../files/json.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import { loadCheckpoint, saveCheckpoint } from '../checkpoint.ts';
import { type MnistConfig, mnistConfig } from './config.ts';
import type { ClassifierState } from './two-task.ts';

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
  readonly classifier: ClassifierState;
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
  const { config, classifier, afterTask1 = {}, aligner, epochs, curve, logLength } = checkpoint;
  await saveCheckpoint(
    folder,
    FORMAT,
    config,
    { epochs, iteration: aligner?.iteration ?? null, curve, logLength },
    {
      ...stateToTensors({ momentum: classifier.momentum }, 'optimizer.'),
      ...stateToTensors(classifier.net, 'net.'),
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
    const { momentum } = stateFromTensors(file.tensors, 'optimizer.');
    if (momentum === undefined) throw new EliError('FORMAT', 'optimizer.momentum is missing');
    const afterTask1 = stateFromTensors(file.tensors, 'after_task1.');
    return {
      config,
      epochs: progress.epochs,
      classifier: { net: stateFromTensors(file.tensors, 'net.'), momentum },
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
