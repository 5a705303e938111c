import { randomBytes } from 'node:crypto';
import { lstat, open, readdir, realpath, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { checkRegular, fileError, system } from './files.ts';

export type Chunk = string | Uint8Array;
/** Text (written as UTF-8), bytes, or pieces of either that are written one after the other. */
export type FileContent = Chunk | Iterable<Chunk> | AsyncIterable<Chunk>;

/** Names of files that are not complete yet: the process, and a random number. */
const TEMPORARY = /^\.tmp-\d+-[0-9a-f]{12}$/;

/**
 * Writes a file so that a reader sees the old content or the whole new one, never a part, whatever happens: it is
 * written under another name in the same folder, flushed to the disk, and renamed. A symbolic link stays a link.
 * When anything fails, the temporary file is removed and the old file is as it was.
 * @throws EliError `FILE` (missing folder, no permission, disk full, target not a regular file); an error thrown by
 *   the iterator of pieces is passed on as it is.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const target = await resolveTarget(path);
  // A short name, so that a target with a name of the greatest length can be written too.
  const temporary = join(dirname(target), `.tmp-${process.pid}-${randomBytes(6).toString('hex')}`);
  const handle = await system('write', path, () => open(temporary, 'wx'));
  try {
    try {
      const whole = typeof content === 'string' || content instanceof Uint8Array;
      for await (const chunk of whole ? [content] : content) {
        // `writeFile` of a handle goes on after partial writes and appends at the current position.
        await system('write', path, () => handle.writeFile(chunk));
      }
      await system('write', path, () => handle.sync());
    } finally {
      await system('write', path, () => handle.close());
    }
    // The folder need not be flushed: if the power fails now, the name leads to the old file or the new one.
    await system('write', path, () => rename(temporary, target));
  } catch (error) {
    // What went wrong first is what the caller must hear of.
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/**
 * Removes what `writeFileAtomic` left in a folder when its process was killed. For a folder that nobody else writes to.
 * @throws EliError `FILE`
 */
export async function removeTemporaries(folder: string): Promise<void> {
  const left = (await system('write', folder, () => readdir(folder))).filter(isTemporary);
  for (const name of left) await system('write', folder, () => rm(join(folder, name), { force: true }));
}

/** Whether a name is that of a file that `writeFileAtomic` had not completed. */
export function isTemporary(name: string): boolean {
  return TEMPORARY.test(name);
}

/** The file that is to be replaced, links followed. A rename would silently replace a device or pipe: refused. */
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
