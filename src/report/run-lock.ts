import { randomBytes } from 'node:crypto';
import {
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EliError } from '../errors.ts';
import { fileError } from '../files/files.ts';
import { jsonRecord } from '../files/json.ts';

const NAME = /^\.lock-(\d+)$/;
const RENEWED_EVERY = 5_000;
/** Age in milliseconds from which a lock counts as dead when its process cannot be inspected. */
const DEAD_AFTER = 60_000;
/** An incomplete lock, whose owner may still be writing it, is read this often, so many milliseconds apart. */
const [READS, BETWEEN_READS] = [40, 50];

/** The owner of a lock, as recorded in its file. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  /** The PID namespace in which `pid` is valid; containers on one host have their own (Linux). */
  readonly space: string | undefined;
  /** Start time of the process in clock ticks since boot: a later process may have the same number (Linux). */
  readonly born: string | undefined;
  readonly since: string;
  readonly token: string;
}

/**
 * The right to write to a folder, held by one process. Only one process can create each file `.lock-<n>` (`O_EXCL`, which
 * network file systems support too); the owner of the highest n holds the folder and updates the file's time every few
 * seconds. The lock of a dead owner is taken over by creating the next file: of several processes that try, one succeeds.
 */
export class RunLock {
  readonly #folder: string;
  readonly #path: string;
  readonly #number: number;
  readonly #text: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(folder: string, number: number, text: string) {
    this.#folder = folder;
    this.#number = number;
    this.#path = pathOf(folder, number);
    this.#text = text;
    this.#timer = setInterval(() => {
      // A folder that is temporarily unavailable is no reason to stop; `check` reports a lost lock.
      unlessItFails(() => utimesSync(this.#path, new Date(), new Date()));
    }, RENEWED_EVERY).unref();
    process.on('exit', this.release);
  }

  /**
   * @throws EliError `RUN_FOLDER` naming the process that holds the folder; `FILE` when it cannot be written
   */
  static async acquire(folder: string): Promise<RunLock> {
    for (;;) {
      const last = numbers(folder).at(-1) ?? 0;
      const holder = last === 0 ? undefined : await livingOwner(pathOf(folder, last));
      if (holder !== undefined) throw heldBy(holder, folder);
      const text = JSON.stringify(ourselves());
      if (!create(pathOf(folder, last + 1), text)) continue;
      const lock = new RunLock(folder, last + 1, text);
      const others = numbers(folder).filter((n) => n !== last + 1);
      const owners = await Promise.all(others.map((n) => livingOwner(pathOf(folder, n))));
      // Since `last` was read, another process may have taken over and ended, and a third started.
      if (owners.every((owner) => owner === undefined)) {
        for (const n of others) rmSync(pathOf(folder, n), { force: true });
        return lock;
      }
      lock.release();
    }
  }

  /** @throws EliError `RUN_FOLDER` when another process has taken over, for example after this one was suspended */
  check(): void {
    try {
      const text = readFileSync(this.#path, 'utf8');
      if (text === this.#text && numbers(this.#folder).at(-1) === this.#number) return;
    } catch (cause) {
      // A temporary file system error says nothing about the lock.
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return;
    }
    throw new EliError('RUN_FOLDER', `the run folder '${this.#folder}' no longer belongs to this process`, {
      hint: 'another process has taken it over, or its lock was removed: nothing more is written',
    });
  }

  /** Releases the folder; also called when the process exits. */
  readonly release = (): void => {
    clearInterval(this.#timer);
    process.off('exit', this.release);
    unlessItFails(() => {
      if (readFileSync(this.#path, 'utf8') === this.#text) rmSync(this.#path);
    });
  };
}

/** Whether a file name is that of a lock. */
export function isLock(name: string): boolean {
  return NAME.test(name);
}

function pathOf(folder: string, number: number): string {
  return join(folder, `.lock-${number}`);
}

/** The numbers of the locks in a folder, ascending. */
function numbers(folder: string): number[] {
  try {
    const names = readdirSync(folder);
    return names
      .flatMap((name) => NAME.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  } catch (cause) {
    throw fileError('read', folder, cause);
  }
}

/** Returns false if the file already exists. @throws EliError `FILE` */
function create(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw fileError('write', path, cause);
  }
}

/** The owner of a lock, `undefined` if the lock does not exist or its owner is dead. */
async function livingOwner(path: string): Promise<Owner | undefined> {
  for (let read = 0; ; read++) {
    try {
      const renewed = statSync(path).mtimeMs;
      const owner = jsonRecord(readFileSync(path, 'utf8')) as Owner | undefined;
      if (Number.isInteger(owner?.pid)) return isAlive(owner!, renewed) ? owner : undefined;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fileError('read', path, cause);
    }
    // The owner ended before it had written its lock.
    if (read === READS) return undefined;
    await sleep(BETWEEN_READS);
  }
}

function ourselves(): Owner {
  return {
    pid: process.pid,
    host: hostname(),
    space: processSpace(),
    born: bornOf(process.pid),
    since: new Date().toISOString(),
    token: randomBytes(8).toString('hex'),
  };
}

function isAlive({ pid, host, space, born }: Owner, renewed: number): boolean {
  const local = host === hostname() && space === processSpace();
  if (local && !exists(pid)) return false;
  // On another machine, or where the start time is unknown, only the lock's time can tell.
  if (local && born !== undefined) return bornOf(pid) === born;
  return Date.now() - renewed < DEAD_AFTER;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    // EPERM: it exists and belongs to another user.
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function processSpace(): string | undefined {
  return unlessItFails(() => readlinkSync('/proc/self/ns/pid'));
}

/** The start time of a process; `undefined` for a zombie, or if the system does not tell. */
function bornOf(pid: number): string | undefined {
  const stat = unlessItFails(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // After the name in parentheses, which may hold anything: the state, and 19 fields later the start time.
  const fields = stat?.replace(/^.*\) /s, '').split(' ');
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
}

function unlessItFails<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch {
    return undefined;
  }
}

function heldBy(owner: Owner, folder: string): EliError {
  return new EliError(
    'RUN_FOLDER',
    `the run folder '${folder}' is in use by process ${owner.pid} on ${owner.host}, since ${owner.since}`,
    { hint: 'wait until it ends or stop it, or choose another folder with --out' },
  );
}
