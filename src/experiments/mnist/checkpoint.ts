import { stateOf, stateTensors } from '../../eli/aligner.ts';
import type { AlignerState } from '../../eli/fit.ts';
import { brief, EliError, isRecord } from '../../errors.ts';
import { wholeNumber } from '../../files/json.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import type { TrainerState } from '../../train/trainer.ts';
import { type Checkpoint, loadCheckpoint, saveCheckpoint } from '../checkpoint.ts';
import { type MnistConfig, mnistConfig } from './config.ts';

/** A point of the accuracy curve: task-1 test accuracy in % after so many aligner iterations. */
export interface CurvePoint {
  readonly iteration: number;
  readonly accuracy: number;
}

/** Everything that a run needs to resume bit for bit. */
export interface MnistCheckpoint extends Checkpoint<MnistConfig> {
  /** Epochs done of task 1 and of task 2. */
  readonly epochs: readonly [number, number];
  readonly classifier: TrainerState;
  /** The network after task 1: its base is the previous model, its head 1 the saved head. */
  readonly afterTask1?: StateDict | undefined;
  readonly aligner?: AlignerState | undefined;
  readonly curve: readonly CurvePoint[];
}

const FORMAT = 'eli-webgpu mnist run';

/** Writes a checkpoint atomically: a run that is killed keeps its previous one. */
export function writeCheckpoint(folder: string, checkpoint: MnistCheckpoint): Promise<void> {
  const { classifier, afterTask1 = {}, aligner, epochs, curve } = checkpoint;
  const progress = { epochs, iteration: aligner?.iteration ?? null, curve };
  return saveCheckpoint(folder, FORMAT, checkpoint, progress, {
    ...stateToTensors(classifier.optimizer, 'optimizer.'),
    ...stateToTensors(classifier.model, 'net.'),
    ...stateToTensors(afterTask1, 'after_task1.'),
    ...(aligner === undefined ? {} : stateTensors(aligner, 'aligner.')),
  });
}

/**
 * The checkpoint of the run in `folder`; `undefined` if it was stopped before its first.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export function readCheckpoint(folder: string): Promise<MnistCheckpoint | undefined> {
  return loadCheckpoint(folder, FORMAT, mnistConfig, (file, { epochs, iteration, curve }, config) => {
    if (!Array.isArray(epochs) || epochs.length !== 2)
      throw new EliError('FORMAT', `epochs is ${brief(epochs)}, must be two numbers`);
    if (!Array.isArray(curve)) throw new EliError('FORMAT', `curve is ${brief(curve)}, must be a list`);
    const epochsOf = (task: 1 | 2) => wholeNumber(`epochs[${task - 1}]`, epochs[task - 1], config.epochs);
    const optimizer = stateFromTensors(file.tensors, 'optimizer.');
    for (const name of ['momentum', 'squares', 'hyper']) {
      if (optimizer[name] === undefined) throw new EliError('FORMAT', `optimizer.${name} is missing`);
    }
    const afterTask1 = stateFromTensors(file.tensors, 'after_task1.');
    const done = iteration === null ? undefined : wholeNumber('iteration', iteration, config.iterations);
    return {
      epochs: [epochsOf(1), epochsOf(2)] as const,
      classifier: { step: 0, model: stateFromTensors(file.tensors, 'net.'), optimizer },
      afterTask1: Object.keys(afterTask1).length === 0 ? undefined : afterTask1,
      aligner: done === undefined ? undefined : stateOf(file, done, 'aligner.'),
      curve: curve.map((point, i) => pointOf(point, i, config)),
    };
  });
}

function pointOf(value: unknown, i: number, config: MnistConfig): CurvePoint {
  const { iteration, accuracy } = isRecord(value) ? value : {};
  if (typeof accuracy !== 'number')
    throw new EliError('FORMAT', `curve[${i}] is ${brief(value)}, must have an accuracy`);
  return { iteration: wholeNumber(`curve[${i}].iteration`, iteration, config.iterations), accuracy };
}
