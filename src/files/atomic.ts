import { randomBytes } from 'node:crypto';
import { existsSync, type Stats } from 'node:fs';
import {
  access,
  constants,
  type FileHandle,
  lstat,
  open,
  readdir,
  readlink,
  realpath,
  rename,
  rm,
} from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { checkRegular, fileError, system } from './files.ts';

export type Chunk = string | Uint8Array;
/** Text (written as UTF-8), bytes, or pieces of either to be written in order. */
export type FileContent = Chunk | Iterable<Chunk> | AsyncIterable<Chunk>;

/** Names of incomplete files: the process id and a random number. */
const TEMPORARY = /^\.tmp-eli-\d+-[0-9a-f]{12}$/;

/**
 * Writes a file so that a reader always sees the old content or all of the new: it is written under another name in the
 * same folder, flushed to the disk, and renamed. The file that is replaced passes on its mode, and its owner where the
 * system allows that (root may give files away, others may not); a symbolic link stays a link, also to a file that does
 * not exist yet. When anything fails, the temporary file is removed and the old file is unchanged.
 * @throws EliError `FILE` (missing folder, no permission, disk full, target not a regular file); an error thrown by
 *   the iterator of pieces is passed on.
 */
export async function writeFileAtomic(path: string, content: FileContent): Promise<void> {
  const { target, old } = await resolveTarget(path);
  // Short, so that a target whose name has the maximum length can be written too.
  const random = randomBytes(6).toString('hex');
  const temporary = join(dirname(target), `.tmp-eli-${process.pid}-${random}`);
  // What replaces a private file is private from the beginning.
  const mode = old === undefined ? 0o666 : 0o600;
  const handle = await system('write', path, () => open(temporary, 'wx', mode));
  try {
    try {
      const whole = typeof content === 'string' || content instanceof Uint8Array;
      for await (const chunk of whole ? [content] : content) {
        // `writeFile` of a handle continues after partial writes and appends at the current position.
        await system('write', path, () => handle.writeFile(chunk));
      }
      if (old !== undefined) await system('write', path, () => keepOwnerAndMode(handle, old));
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
 * Checks that `writeFileAtomic` may write there, as before long work; nothing is written.
 * @param options `makesFolder`: missing folders are no error, as they will be made.
 * @throws EliError `FILE`
 */
export async function checkWritable(path: string, { makesFolder = false } = {}): Promise<void> {
  const { target } = await resolveTarget(path);
  let folder = dirname(resolve(target));
  while (makesFolder && !existsSync(folder)) folder = dirname(folder);
  // The slash makes it an error if that is a file.
  await system('write', path, () => access(`${folder}/`, constants.W_OK | constants.X_OK));
}

/**
 * Removes what `writeFileAtomic` left in a folder when its process was killed. The folder must be one of this program's,
 * and no other process may write there.
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

/** Gives a file the owner of the one it replaces, as far as that is allowed, and its mode. */
async function keepOwnerAndMode(handle: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const ours = await handle.stat();
  let kept = ours.uid === uid && ours.gid === gid;
  for (const owner of [uid, ours.uid]) {
    if (kept) break;
    kept = await handle.chown(owner, gid).then(
      () => owner === uid,
      () => false,
    );
  }
  // Set after the owner, whose change clears it; a program must not run as somebody it was not meant for. Some file
  // systems have no modes, which is no reason to lose the content.
  await handle.chmod(mode & (kept ? 0o7777 : 0o777)).catch(() => {});
}

/** The file to be written, links resolved, and what is known of the file to be replaced, if any. */
async function resolveTarget(path: string): Promise<{ target: string; old: Stats | undefined }> {
  try {
    const target = await realpath(path);
    const old = await lstat(target);
    // A rename would silently replace a device, a pipe or a file that is read-only.
    checkRegular('write', path, old);
    await access(target, constants.W_OK);
    return { target, old };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') throw fileError('write', path, cause);
  }
  const link = await readlink(path).catch(() => undefined);
  if (link === undefined) return { target: path, old: undefined };
  // Relative to the link's own folder.
  const folder = await system('write', path, () => realpath(dirname(path)));
  return resolveTarget(resolve(folder, link));
}
