import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { brief, EliError, isRecord } from '../errors.ts';
import {
  readSafetensors,
  type Safetensors,
  type SafetensorsInput,
  toFloat32,
  writeSafetensors,
} from '../files/safetensors.ts';

/** The checkpoint of the run, or of the seed, in a folder. */
export function checkpointPath(folder: string): string {
  return join(folder, 'checkpoint.safetensors');
}

/**
 * Writes a checkpoint with checksums, atomically: a run that is killed keeps the one before.
 * @param format which experiment's it is
 */
export async function saveCheckpoint(
  folder: string,
  format: string,
  config: unknown,
  progress: Readonly<Record<string, unknown>>,
  tensors: Readonly<Record<string, SafetensorsInput>>,
): Promise<void> {
  const metadata = { format, config: JSON.stringify(config), progress: JSON.stringify(progress) };
  await writeSafetensors(checkpointPath(folder), tensors, metadata, { checksums: true });
}

/**
 * The checkpoint in `folder`, as `parse` takes it from its tensors, its config and its progress; `undefined` where there
 * is none, because the run was stopped before its first.
 * @throws EliError `FILE` or `FORMAT` naming the file and what is wrong.
 */
export async function loadCheckpoint<T>(
  folder: string,
  format: string,
  parse: (file: Safetensors, config: object, progress: Record<string, unknown>) => T,
): Promise<T | undefined> {
  const path = checkpointPath(folder);
  if (!existsSync(path)) return undefined;
  const file = await readSafetensors(path);
  if (file.metadata.format !== format) {
    throw new EliError(
      'FORMAT',
      `${path} is not a checkpoint of this experiment: its metadata has no format "${format}"`,
    );
  }
  try {
    const config = JSON.parse(file.metadata.config ?? '{}') as object;
    const progress: unknown = JSON.parse(file.metadata.progress ?? 'null');
    if (!isRecord(progress)) throw new EliError('FORMAT', `its progress is ${brief(progress)}`);
    return parse(file, config, progress);
  } catch (cause) {
    throw new EliError('FORMAT', `${path} is not a complete checkpoint: ${(cause as Error).message}`, {
      hint: 'start the run anew in another folder',
      cause,
    });
  }
}

/** The losses of an epoch under way as a tensor; none at the end of an epoch. */
export function lossesToTensors(losses: readonly number[]): Record<string, SafetensorsInput> {
  if (losses.length === 0) return {};
  return { losses: { dtype: 'F32', shape: [losses.length], data: Float32Array.from(losses) } };
}

/** The losses that `lossesToTensors` wrote. */
export function lossesOf({ tensors }: Safetensors): number[] {
  return tensors.losses === undefined ? [] : [...toFloat32(tensors.losses)];
}

/** @throws EliError `FORMAT` where a checkpoint has more losses than an epoch under way can have: of other data, then */
export function checkLosses(folder: string, losses: readonly number[], most: number): void {
  if (losses.length <= most) return;
  throw new EliError(
    'FORMAT',
    `${checkpointPath(folder)} has ${losses.length} losses of the epoch under way, which has at most ${most} here`,
    { hint: 'resume with the same data set' },
  );
}
