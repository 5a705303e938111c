import { brief, EliError, isRecord } from '../../errors.ts';
import { wholeNumber } from '../../files/json.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import type { EpochPoint } from '../../report/training.ts';
import type { TrainerState } from '../../train/trainer.ts';
import { loadCheckpoint, lossesOf, lossesToTensors, saveCheckpoint } from '../checkpoint.ts';
import { type TrainConfig, trainConfig } from './config.ts';

/** Where a training stands: everything it needs to resume bit for bit. */
export interface TrainCheckpoint {
  readonly config: TrainConfig;
  readonly trainer: TrainerState;
  readonly points: readonly EpochPoint[];
  /** Losses of the steps done of the epoch under way. */
  readonly losses: readonly number[];
  /** Lines of the log that belong to what is done. */
  readonly logLength: number;
}

const FORMAT = 'eli-webgpu training';

/** Writes a checkpoint atomically: a run that is killed keeps the one before. */
export async function writeTrainCheckpoint(folder: string, checkpoint: TrainCheckpoint): Promise<void> {
  const { config, trainer, points, losses, logLength } = checkpoint;
  await saveCheckpoint(
    folder,
    FORMAT,
    config,
    { step: trainer.step, points, logLength },
    {
      ...stateToTensors(trainer.model, 'model.'),
      ...stateToTensors(trainer.optimizer, 'optimizer.'),
      ...lossesToTensors(losses),
    },
  );
}

/**
 * Where the training in `folder` stands; `undefined` for one that was stopped before its first checkpoint.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export function readTrainCheckpoint(folder: string): Promise<TrainCheckpoint | undefined> {
  return loadCheckpoint(folder, FORMAT, (file, config, { step, points, logLength }) => {
    if (!Array.isArray(points)) throw new EliError('FORMAT', `points is ${brief(points)}, must be a list`);
    return {
      config: trainConfig(config),
      trainer: {
        step: wholeNumber('step', step),
        model: stateFromTensors(file.tensors, 'model.'),
        optimizer: stateFromTensors(file.tensors, 'optimizer.'),
      },
      points: points.map(pointOf),
      losses: lossesOf(file),
      logLength: wholeNumber('logLength', logLength),
    };
  });
}

/** The point of the epoch at place i: its numbers by name; a loss that was not finite is null in JSON. */
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
