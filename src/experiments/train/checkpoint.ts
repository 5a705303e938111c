import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { brief, EliError, isRecord } from '../../errors.ts';
import { wholeNumber } from '../../files/json.ts';
import { readSafetensors, writeSafetensors } from '../../files/safetensors.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import type { EpochPoint } from '../../report/training.ts';
import type { TrainerState } from '../../train/trainer.ts';
import { type TrainConfig, trainConfig } from './config.ts';

/** Where a training stands: everything it needs to go on with the same bits. */
export interface TrainCheckpoint {
  readonly config: TrainConfig;
  readonly trainer: TrainerState;
  readonly points: readonly EpochPoint[];
  /** Lines of the log that belong to what is done. */
  readonly logLength: number;
}

const FORMAT = 'eli-webgpu training';

export function trainCheckpointPath(folder: string): string {
  return join(folder, 'checkpoint.safetensors');
}

/** Writes a checkpoint atomically: a run that is killed keeps the one before. */
export async function writeTrainCheckpoint(folder: string, checkpoint: TrainCheckpoint): Promise<void> {
  const { config, trainer, points, logLength } = checkpoint;
  const tensors = {
    ...stateToTensors(trainer.model, 'model.'),
    ...stateToTensors(trainer.optimizer, 'optimizer.'),
  };
  await writeSafetensors(trainCheckpointPath(folder), tensors, {
    format: FORMAT,
    config: JSON.stringify(config),
    progress: JSON.stringify({ step: trainer.step, points, logLength }),
  });
}

/**
 * Where the training in `folder` stands; `undefined` for one that was stopped before its first checkpoint.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export async function readTrainCheckpoint(folder: string): Promise<TrainCheckpoint | undefined> {
  const path = trainCheckpointPath(folder);
  if (!existsSync(path)) return undefined;
  const file = await readSafetensors(path);
  if (file.metadata.format !== FORMAT) {
    throw new EliError(
      'FORMAT',
      `${path} is no checkpoint of a training: its metadata has no format "${FORMAT}"`,
    );
  }
  try {
    const config = trainConfig(JSON.parse(file.metadata.config ?? '{}') as Partial<TrainConfig>);
    const progress: unknown = JSON.parse(file.metadata.progress ?? 'null');
    if (!isRecord(progress)) throw new EliError('FORMAT', `its progress is ${brief(progress)}`);
    const { step, points, logLength } = progress;
    if (!Array.isArray(points)) throw new EliError('FORMAT', `points is ${brief(points)}, must be a list`);
    return {
      config,
      trainer: {
        step: wholeNumber('step', step),
        model: stateFromTensors(file.tensors, 'model.'),
        optimizer: stateFromTensors(file.tensors, 'optimizer.'),
      },
      points: points.map(pointOf),
      logLength: wholeNumber('logLength', logLength),
    };
  } catch (cause) {
    throw new EliError('FORMAT', `${path} is no whole checkpoint: ${(cause as Error).message}`, {
      hint: 'start the training anew in another folder',
      cause,
    });
  }
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
