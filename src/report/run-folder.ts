import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EliError } from '../errors.ts';
import { isTemporary, removeTemporaries } from '../files/atomic.ts';
import { makeFolder } from '../files/files.ts';
import { isLock, RunLock } from './run-lock.ts';

/** A run writes its environment first and then its config: what has a config can be resumed. */
export const ENVIRONMENT_FILE = 'environment.json';
export const CONFIG_FILE = 'config.json';

/**
 * Makes the folder of a run, where it is not there, and locks it. A folder that holds files is taken only with `resume`,
 * which needs config.json there. What a run that was killed left half written is removed.
 *
 * @throws EliError RUN_FOLDER when it is in use, by another process or with other files, missing, no folder, or cannot be
 * made; FILE
 */
export async function lockRunFolder(path: string, { resume = false } = {}): Promise<RunLock> {
  const found = (await list(path)) ?? [];
  // With a lock there, who holds it is the better answer.
  if (!found.some(isLock)) checkFiles(path, found, resume);
  try {
    await makeFolder(path);
  } catch (cause) {
    throw new EliError('RUN_FOLDER', `The run folder '${path}' cannot be made: ${reason(cause)}`, {
      hint: 'choose another folder with --out',
      cause,
    });
  }
  const lock = await RunLock.acquire(path);
  try {
    checkFiles(path, (await list(path)) ?? [], resume);
    await removeTemporaries(path);
    return lock;
  } catch (error) {
    lock.release();
    throw error;
  }
}

function checkFiles(path: string, found: readonly string[], resume: boolean): void {
  // What a run leaves that was killed before it had begun is in nobody's way.
  const files = found.filter((name) => !isLock(name) && !isTemporary(name) && name !== ENVIRONMENT_FILE);
  if (resume && !files.includes(CONFIG_FILE)) {
    throw new EliError('RUN_FOLDER', `There is no run to resume in '${path}'`, {
      hint: 'give the folder of an earlier run, or leave --resume out to start a new one',
    });
  }
  if (!resume && files.length > 0) {
    throw new EliError('RUN_FOLDER', `The run folder '${path}' already holds files (${examples(files)})`, {
      hint: 'choose another folder with --out, or go on with that run with --resume',
    });
  }
}

/** The folder for a run that was given none: `runs/<name>-<date>-<time>` in local time, to the second. */
export function defaultRunFolder(name: string, date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}${two(date.getMonth() + 1)}${two(date.getDate())}`;
  const time = `${two(date.getHours())}${two(date.getMinutes())}${two(date.getSeconds())}`;
  return join('runs', `${name}-${day}-${time}`);
}

async function list(path: string): Promise<string[] | undefined> {
  try {
    return await readdir(path);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return undefined;
    const what = code === 'ENOTDIR' ? 'is a file, not a folder' : `cannot be read: ${reason(cause)}`;
    throw new EliError('RUN_FOLDER', `The run folder '${path}' ${what}`, {
      hint: 'choose another folder with --out',
      cause,
    });
  }
}

function examples(names: string[]): string {
  const some = names.sort().slice(0, 3).join(', ');
  return names.length > 3 ? `${some} and ${names.length - 3} more` : some;
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
