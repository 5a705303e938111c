import { randomBytes } from 'node:crypto';
import { lstat, open, readdir, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkRegular, fileError, system } from './files.ts';

export type Chunk = string | Uint8Array;
/** Text (written as UTF-8), bytes, or pieces of either to be written in order. */
export type FileContent = Chunk | Iterable<Chunk> | AsyncIterable<Chunk>;

/** Names of incomplete files: the process id and a random number. */
const TEMPORARY = /^\.tmp-\d+-[0-9a-f]{12}$/;

/**
 * Writes a file so that a reader always sees the old content or all of the new: it is written under another name in the
 * same folder, flushed to the disk, and renamed. A symbolic link stays a link. When anything fails, the temporary file
 * is removed and the old file is unchanged.
 * @throws EliError `FILE` (missing folder, no permission, disk full, target not a regular file); an error thrown by
 *   the iterator of pieces is passed on.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const target = await resolveTarget(path);
  // Short, so that a target whose name has the maximum length can be written too.
  const temporary = join(dirname(target), `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`);
  const handle = await system('write', path, () => open(temporary, 'wx'));
  try {
    try {
      const whole = typeof content === 'string' || content instanceof Uint8Array;
      for await (const chunk of whole ? [content] : content) {
        // `writeFile` of a handle continues after partial writes and appends at the current position.
        await system('write', path, () => handle.writeFile(chunk));
      }
      await system('write', path, () => handle.sync());
    } finally {
      await system('write', path, () => handle.close());
    }
    // The folder need not be flushed: after a power failure the name refers to the old file or the new one.
    await system('write', path, () => rename(temporary, target));
  } catch (error) {
    // The caller must get the first error.
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/**
 * Removes what `writeFileAtomic` left in a folder when its process was killed. No other process may write there.
 * @throws EliError `FILE`
 */
export async function removeTemporaries(folder: string): Promise<void> {
  const left = (await system('write', folder, () => readdir(folder))).filter(isTemporary);
  for (const name of left) await system('write', folder, () => rm(join(folder, name), { force: true }));
}

/** Whether it is the name of a file that `writeFileAtomic` did not complete. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** The file to be replaced, links resolved. Refuses a device or pipe, which a rename would silently replace. */
async function resolveTarget(path: string): Promise<string> {
  try {
    const target = await realpath(path);
    checkRegular('write', path, await lstat(target));
    return target;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return path;
    throw fileError('write', path, cause);
  }
}
