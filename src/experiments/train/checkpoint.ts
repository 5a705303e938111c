import { brief, EliError, isRecord } from '../../errors.ts';
import { wholeNumber } from '../../files/json.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import type { EpochPoint } from '../../report/training.ts';
import type { TrainerState } from '../../train/trainer.ts';
import { type Checkpoint, loadCheckpoint, saveCheckpoint } from '../checkpoint.ts';
import { type TrainConfig, trainConfig } from './config.ts';

/** Everything that a training needs to resume bit for bit. */
export interface TrainCheckpoint extends Checkpoint<TrainConfig> {
  readonly trainer: TrainerState;
  readonly points: readonly EpochPoint[];
}

const FORMAT = 'eli-webgpu training';

/** Writes a checkpoint atomically: a training that is killed keeps its previous one. */
export function writeTrainCheckpoint(folder: string, checkpoint: TrainCheckpoint): Promise<void> {
  const { trainer, points } = checkpoint;
  const tensors = {
    ...stateToTensors(trainer.model, 'model.'),
    ...stateToTensors(trainer.optimizer, 'optimizer.'),
  };
  return saveCheckpoint(folder, FORMAT, checkpoint, { step: trainer.step, points }, tensors);
}

/**
 * The checkpoint of the training in `folder`; `undefined` if it was stopped before its first.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export function readTrainCheckpoint(folder: string): Promise<TrainCheckpoint | undefined> {
  return loadCheckpoint(folder, FORMAT, trainConfig, ({ tensors }, { step, points }) => {
    if (!Array.isArray(points)) throw new EliError('FORMAT', `points is ${brief(points)}, must be a list`);
    return {
      trainer: {
        step: wholeNumber('step', step),
        model: stateFromTensors(tensors, 'model.'),
        optimizer: stateFromTensors(tensors, 'optimizer.'),
      },
      points: points.map(pointOf),
    };
  });
}

/** The point of epoch i + 1, from JSON, where a loss that was not finite is null. */
function pointOf(value: unknown, i: number): EpochPoint {
  const number = (name: 'trainLoss' | 'testLoss' | 'testAccuracy'): number => {
    const found = isRecord(value) ? value[name] : undefined;
    if (found === null) return Number.NaN;
    if (typeof found === 'number') return found;
    throw new EliError('FORMAT', `points[${i}].${name} is ${brief(found)}, must be a number`);
  };
  return {
    epoch: i + 1,
    trainLoss: number('trainLoss'),
    testLoss: number('testLoss'),
    testAccuracy: number('testAccuracy'),
  };
}
