import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { EliError } from '../errors.ts';
import { readSafetensors, type SafetensorsInput, toFloat32, writeSafetensors } from '../files/safetensors.ts';
import type { StateDict } from '../nn/module.ts';
import type { EpochPoint } from '../report/training.ts';
import type { TrainerState } from '../train/trainer.ts';
import { type TrainConfig, trainConfig } from './train-config.ts';

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

const withPrefix = (prefix: string, state: StateDict): [string, SafetensorsInput][] =>
  Object.entries(state).map(([name, { shape, data }]) => [
    `${prefix}.${name}`,
    { dtype: 'F32', shape, data },
  ]);

/** Writes a checkpoint atomically: a run that is killed keeps the one before. */
export async function writeTrainCheckpoint(folder: string, checkpoint: TrainCheckpoint): Promise<void> {
  const { config, trainer, points, logLength } = checkpoint;
  const tensors = Object.fromEntries([
    ...withPrefix('model', trainer.model),
    ...withPrefix('optimizer', trainer.optimizer),
  ]);
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
  const part = (prefix: string): StateDict =>
    Object.fromEntries(
      Object.entries(file.tensors)
        .filter(([name]) => name.startsWith(`${prefix}.`))
        .map(([name, entry]) => [
          name.slice(prefix.length + 1),
          { shape: entry.shape, data: toFloat32(entry) },
        ]),
    );
  try {
    const progress = JSON.parse(file.metadata.progress!) as {
      step: number;
      points: EpochPoint[];
      logLength: number;
    };
    return {
      config: trainConfig(JSON.parse(file.metadata.config!) as Partial<TrainConfig>),
      trainer: { step: progress.step, model: part('model'), optimizer: part('optimizer') },
      points: progress.points,
      logLength: progress.logLength,
    };
  } catch (cause) {
    throw new EliError('FORMAT', `${path} is no whole checkpoint: ${(cause as Error).message}`, {
      hint: 'start the training anew in another folder',
      cause,
    });
  }
}
