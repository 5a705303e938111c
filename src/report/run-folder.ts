import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EliError } from '../errors.ts';
import { removeTemporaries } from '../files/atomic.ts';
import { makeFolder } from '../files/files.ts';

/**
 * Makes the folder of a run and returns its path. A folder that holds files is taken only with `resume`, which needs
 * config.json there: a run writes that first. What a run that was killed left half written is removed.
 *
 * @throws EliError RUN_FOLDER when it is in use, missing, no folder, or cannot be made; FILE
 */
export async function createRunFolder(path: string, { resume = false } = {}): Promise<string> {
  if ((await list(path)) !== undefined) await removeTemporaries(path);
  const found = await list(path);
  if (resume) {
    if (found?.includes('config.json') !== true) {
      throw new EliError('RUN_FOLDER', `There is no run to resume in '${path}'`, {
        hint: 'give the folder of an earlier run, or leave --resume out to start a new one',
      });
    }
    return path;
  }
  if (found !== undefined && found.length > 0) {
    throw new EliError('RUN_FOLDER', `The run folder '${path}' already holds files (${examples(found)})`, {
      hint: 'choose another folder with --out, or go on with that run with --resume',
    });
  }
  try {
    await makeFolder(path);
  } catch (cause) {
    throw new EliError('RUN_FOLDER', `The run folder '${path}' cannot be made: ${reason(cause)}`, {
      hint: 'choose another folder with --out',
      cause,
    });
  }
  return path;
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
