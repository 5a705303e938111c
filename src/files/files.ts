import type { Stats } from 'node:fs';
import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { EliError } from '../errors.ts';

/** Largest file read or written in one piece: Node's limit for `fs.readFile`, 2 GiB − 1. */
export const MAX_FILE_BYTES = 2 ** 31 - 1;

/** The usual system errors in words, and what to do. */
const REASONS: Readonly<Record<string, readonly [found: string, hint: string]>> = {
  ENOENT: ['there is no such file or folder', 'check the path'],
  ENOTDIR: ['part of the path is a file, not a folder', 'check the path'],
  EISDIR: ['it is a folder, not a file', 'name a file'],
  EACCES: ['permission denied', 'check who may read and write there'],
  EPERM: ['permission denied', 'check who may read and write there'],
  EROFS: ['the file system is read-only', 'choose another folder'],
  ENOSPC: ['no space left on the disk', 'free some space or choose another disk'],
  EDQUOT: ['the disk quota is used up', 'free some space or choose another disk'],
  EFBIG: ['the file is larger than the limit set for this process', 'raise the limit (ulimit -f)'],
  EMFILE: ['too many open files', 'close some, or raise the limit (ulimit -n)'],
};

/**
 * An `EliError` of code `FILE` for a system error while `doing` ("read", "write") the file `path`; an `EliError` is
 * returned unchanged.
 */
export function fileError(doing: string, path: string, cause: unknown): EliError {
  if (cause instanceof EliError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  const reason = code === undefined ? undefined : REASONS[code];
  if (reason === undefined) return new EliError('FILE', `cannot ${doing} ${path}: ${message}`, { cause });
  const hint =
    doing === 'write' && code === 'ENOENT' ? 'make its folder first, or check the path' : reason[1];
  return new EliError('FILE', `cannot ${doing} ${path}: ${reason[0]} (${code})`, { hint, cause });
}

/** The result of `action`. @throws EliError `FILE` for its system errors, as `fileError` makes them */
export async function system<T>(doing: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw fileError(doing, path, cause);
  }
}

/** @throws EliError `FILE` unless it is a regular file: a pipe would block, a device may never end. */
export function checkRegular(doing: string, path: string, info: Stats): void {
  if (info.isFile()) return;
  const found = info.isDirectory() ? 'it is a folder' : 'it is a device, pipe or socket';
  throw new EliError('FILE', `cannot ${doing} ${path}: ${found}, not a regular file`, {
    hint: 'name a file',
  });
}

/** An `EliError` of code `FORMAT` for content that does not follow its format. */
export function formatError(message: string, hint: string, cause?: unknown): EliError {
  return new EliError('FORMAT', message, { hint, cause });
}

/** The same for a file that is not a valid `format`, such as "ZIP archive". */
export function notValid(name: string, format: string, what: string): EliError {
  const hint = 'the file is cut off, damaged or of another format: write or download it again';
  return formatError(`${name} is not a valid ${format}: ${what}`, hint);
}

/**
 * The bytes of a regular file.
 * @throws EliError `FILE` when it is missing, unreadable, not a regular file or over `MAX_FILE_BYTES`.
 */
export async function readFileBytes(path: string): Promise<Uint8Array> {
  return system('read', path, async () => {
    const info = await stat(path);
    checkRegular('read', path, info);
    if (info.size > MAX_FILE_BYTES) {
      throw new EliError(
        'FILE',
        `cannot read ${path}: ${info.size} bytes, at most ${MAX_FILE_BYTES} can be read`,
        { hint: 'split the file' },
      );
    }
    return bytesOf(await readFile(path));
  });
}

/** The same memory as bytes. Not as a Buffer, whose `slice` is a view where that of every other array is a copy. */
export function bytesOf<B extends ArrayBufferLike>(array: ArrayBufferView<B>): Uint8Array<B> {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/**
 * Makes a folder and its parents. Node's `recursive` never returns where no folder can be made, as in /proc.
 * @throws the system's error
 */
export async function makeFolder(path: string): Promise<void> {
  const make = async (): Promise<void> => {
    try {
      await mkdir(path);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    }
  };
  try {
    await make();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw cause;
    await makeFolder(dirname(path));
    await make();
  }
}
