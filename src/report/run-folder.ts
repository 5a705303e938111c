import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EliError } from '../errors.ts';
import { isTemporary, removeTemporaries } from '../files/atomic.ts';
import { makeFolder } from '../files/files.ts';
import { isLock, RunLock } from './run-lock.ts';

/** A run writes its environment before its config: a folder with a config can be resumed. */
export const ENVIRONMENT_FILE = 'environment.json';
export const CONFIG_FILE = 'config.json';

/**
 * Makes the folder of a run if necessary and locks it. A folder that holds files is accepted only with `resume`, and
 * then must hold config.json. Incomplete files of a run that was killed are removed: it has left its lock or its config.
 *
 * @throws EliError RUN_FOLDER when it is in use by another process, holds other files, holds no run to resume, is not a
 * folder or cannot be made; FILE
 */
export async function lockRunFolder(path: string, { resume = false } = {}): Promise<RunLock> {
  const found = await list(path);
  // Where there is a lock, the error that names its holder is more helpful.
  const wasRun = found.some(isLock);
  if (!wasRun) checkFiles(path, found, resume, wasRun);
  await makeFolder(path).catch((cause) => {
    throw unusable(path, `cannot be made: ${cause.message}`, cause);
  });
  const lock = await RunLock.acquire(path);
  try {
    checkFiles(path, await list(path), resume, wasRun);
    await removeTemporaries(path);
    return lock;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** @param wasRun whether a run was killed here: then it may have left more than its lock, before it began */
function checkFiles(path: string, found: readonly string[], resume: boolean, wasRun: boolean): void {
  const isLeft = (name: string): boolean => wasRun && (isTemporary(name) || name === ENVIRONMENT_FILE);
  const files = found.filter((name) => !isLock(name) && !isLeft(name));
  if (resume && !files.includes(CONFIG_FILE)) {
    throw new EliError('RUN_FOLDER', `There is no run to resume in '${path}'`, {
      hint: 'name the folder of an earlier run, or start a new one without --resume',
    });
  }
  if (!resume && files.length > 0) {
    throw new EliError('RUN_FOLDER', `The run folder '${path}' already holds files (${examples(files)})`, {
      hint: 'choose another folder with --out, or resume that run with --resume',
    });
  }
}

/** The folder of a run without --out: `runs/<name>-<date>-<time>` in local time, to the second. */
export function defaultRunFolder(name: string, date: Date): string {
  // Swedish dates are ISO 8601: 2026-11-23 09:05:07.
  const [day, time] = date.toLocaleString('sv').replaceAll(/[-:]/g, '').split(' ');
  return join('runs', `${name}-${day}-${time}`);
}

/** The names in a folder, none where it does not exist. */
async function list(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return [];
    throw unusable(
      path,
      code === 'ENOTDIR' ? 'is a file, not a folder' : `cannot be read: ${message}`,
      cause,
    );
  }
}

function unusable(path: string, what: string, cause: unknown): EliError {
  const hint = 'choose another folder with --out';
  return new EliError('RUN_FOLDER', `The run folder '${path}' ${what}`, { hint, cause });
}

function examples(names: string[]): string {
  const some = names.sort().slice(0, 3).join(', ');
  return names.length > 3 ? `${some} and ${names.length - 3} more` : some;
}
