import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type AlignerState, stateOf, stateTensors } from '../eli/aligner.ts';
import { EliError } from '../errors.ts';
import {
  readSafetensors,
  type Safetensors,
  type SafetensorsInput,
  toFloat32,
  writeSafetensors,
} from '../files/safetensors.ts';
import type { StateDict } from '../nn/module.ts';
import { type MnistConfig, mnistConfig } from './mnist-config.ts';
import type { ClassifierState } from './two-task.ts';

/** A point of the accuracy curve: task-1 test accuracy in % after so many aligner iterations. */
export interface CurvePoint {
  readonly iteration: number;
  readonly accuracy: number;
}

/** Where a run stands: everything it needs to go on with the same bits. */
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

export function checkpointPath(folder: string): string {
  return join(folder, 'checkpoint.safetensors');
}

/** Writes a checkpoint atomically: a run that is killed keeps the one before. */
export async function writeCheckpoint(folder: string, checkpoint: MnistCheckpoint): Promise<void> {
  const tensors: Record<string, SafetensorsInput> = {
    'optimizer.momentum': {
      dtype: 'F32',
      shape: checkpoint.classifier.momentum.shape,
      data: checkpoint.classifier.momentum.data,
    },
  };
  const addState = (prefix: string, state: StateDict | undefined): void => {
    for (const [name, value] of Object.entries(state ?? {})) {
      tensors[`${prefix}.${name}`] = { dtype: 'F32', shape: value.shape, data: value.data };
    }
  };
  addState('net', checkpoint.classifier.net);
  addState('after_task1', checkpoint.afterTask1);
  if (checkpoint.aligner !== undefined) Object.assign(tensors, stateTensors(checkpoint.aligner, 'aligner.'));
  await writeSafetensors(checkpointPath(folder), tensors, {
    format: FORMAT,
    config: JSON.stringify(checkpoint.config),
    progress: JSON.stringify({
      epochs: checkpoint.epochs,
      iteration: checkpoint.aligner?.iteration ?? null,
      curve: checkpoint.curve,
      logLength: checkpoint.logLength,
    }),
  });
}

/**
 * Where the run in `folder` stands; `undefined` for one that was stopped before its first checkpoint.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export async function readCheckpoint(folder: string): Promise<MnistCheckpoint | undefined> {
  const path = checkpointPath(folder);
  if (!existsSync(path)) return undefined;
  const file = await readSafetensors(path);
  if (file.metadata.format !== FORMAT) {
    throw new EliError(
      'FORMAT',
      `${path} is no checkpoint of this experiment: its metadata has no format "${FORMAT}"`,
    );
  }
  try {
    const progress = JSON.parse(file.metadata.progress!) as {
      epochs: [number, number];
      iteration: number | null;
      curve: CurvePoint[];
      logLength: number;
    };
    const momentum = file.tensors['optimizer.momentum']!;
    const afterTask1 = part(file, 'after_task1.');
    return {
      // Keys that came later have their defaults.
      config: mnistConfig(JSON.parse(file.metadata.config!) as Partial<MnistConfig>),
      epochs: progress.epochs,
      classifier: { net: part(file, 'net.'), momentum: { shape: momentum.shape, data: toFloat32(momentum) } },
      ...(Object.keys(afterTask1).length === 0 ? {} : { afterTask1 }),
      ...(progress.iteration === null ? {} : { aligner: stateOf(file, progress.iteration, 'aligner.') }),
      curve: progress.curve,
      logLength: progress.logLength,
    };
  } catch (cause) {
    throw new EliError('FORMAT', `${path} is no whole checkpoint: ${(cause as Error).message}`, {
      hint: 'start the run anew in another folder',
      cause,
    });
  }
}

function part(file: Safetensors, prefix: string): StateDict {
  const state: StateDict = {};
  for (const [name, entry] of Object.entries(file.tensors)) {
    if (name.startsWith(prefix))
      state[name.slice(prefix.length)] = { shape: entry.shape, data: toFloat32(entry) };
  }
  return state;
}
