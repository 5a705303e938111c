import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { brief, EliError, isRecord } from '../errors.ts';
import { readFormat } from '../files/formats.ts';
import { wholeNumber } from '../files/json.ts';
import {
  type Safetensors,
  type SafetensorsInput,
  toFloat32,
  writeSafetensors,
} from '../files/safetensors.ts';

/** What every checkpoint holds, whatever the experiment. */
export interface Checkpoint<C> {
  readonly config: C;
  /** Losses of the steps done so far in the current epoch. */
  readonly losses: readonly number[];
  /** Number of log events up to this checkpoint. */
  readonly logLength: number;
}

/** The checkpoint of the run, or of the seed, in a folder. */
export function checkpointPath(folder: string): string {
  return join(folder, 'checkpoint.safetensors');
}

/**
 * Writes a checkpoint with checksums, atomically: a run that is killed keeps its previous one.
 * @param format names the experiment
 */
export async function saveCheckpoint(
  folder: string,
  format: string,
  { config, losses, logLength }: Checkpoint<unknown>,
  progress: Readonly<Record<string, unknown>>,
  tensors: Readonly<Record<string, SafetensorsInput>>,
): Promise<void> {
  const metadata = {
    format,
    config: JSON.stringify(config),
    progress: JSON.stringify({ ...progress, logLength }),
  };
  const data = Float32Array.from(losses);
  const all =
    data.length === 0
      ? tensors
      : { ...tensors, losses: { dtype: 'F32', shape: [data.length], data } as const };
  await writeSafetensors(checkpointPath(folder), all, metadata, { checksums: true });
}

/**
 * The checkpoint in `folder`; `undefined` if the run was stopped before its first. `parse` takes what the experiment adds
 * from the tensors and from the progress.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export async function loadCheckpoint<C, T>(
  folder: string,
  format: string,
  completeConfig: (part: object) => C,
  parse: (file: Safetensors, progress: Record<string, unknown>, config: C) => T,
): Promise<(Checkpoint<C> & T) | undefined> {
  const path = checkpointPath(folder);
  if (!existsSync(path)) return undefined;
  const read = (file: Safetensors): Checkpoint<C> & T => {
    const { tensors, metadata } = file;
    const config = completeConfig(JSON.parse(metadata.config ?? '{}') as object);
    const progress: unknown = JSON.parse(metadata.progress ?? 'null');
    if (!isRecord(progress)) throw new EliError('FORMAT', `its progress is ${brief(progress)}`);
    const losses = tensors.losses === undefined ? [] : [...toFloat32(tensors.losses)];
    const logLength = wholeNumber('logLength', progress.logLength);
    return { ...parse(file, progress, config), config, losses, logLength };
  };
  return readFormat(path, { [format]: read }, { hint: 'start the run again in another folder' });
}

/** @throws EliError `FORMAT` if a checkpoint has more losses than an epoch of this data set has steps */
export function checkLosses(folder: string, losses: readonly number[], most: number): void {
  if (losses.length <= most) return;
  throw new EliError(
    'FORMAT',
    `${checkpointPath(folder)} has ${losses.length} losses of the current epoch, which has at most ${most} here`,
    { hint: 'resume with the same data set' },
  );
}
