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
/** The age from which the lock of a process that cannot be looked at counts as dead. */
const DEAD_AFTER = 60_000;
/** How often, and how many milliseconds apart, a lock is read again whose owner is still writing it. */
const [READS, BETWEEN_READS] = [40, 50];

/** Whose lock it is, as its file says. */
interface Owner {
  readonly pid: number;
  readonly host: string;
  /** Process numbers mean something within one of these: containers of one host have several (Linux). */
  readonly space: string | undefined;
  /** When the process began, in ticks of the machine, so that another process of its number is not taken for it (Linux). */
  readonly born: string | undefined;
  readonly since: string;
  readonly token: string;
}

/**
 * The right to write to a folder, held by one process. Files `.lock-<n>` are made so that only one process can make each
 * (`O_EXCL`, which network file systems have as well); the highest n holds the folder. It is renewed by its time every few
 * seconds. A dead owner's lock is taken over by making the next: of several that try, one succeeds.
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
      // A folder that is gone for a while is no reason to stop; `check` says when the lock is lost.
      unlessItFails(() => utimesSync(this.#path, new Date(), new Date()));
    }, RENEWED_EVERY).unref();
    process.on('exit', this.release);
  }

  /**
   * @throws EliError `RUN_FOLDER` that says who holds the folder; `FILE` when it cannot be written
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
      // Between the look and the lock another process may have taken over, ended, and a third begun.
      if (owners.every((owner) => owner === undefined)) {
        for (const n of others) rmSync(pathOf(folder, n), { force: true });
        return lock;
      }
      lock.release();
    }
  }

  /** @throws EliError `RUN_FOLDER` when another process has taken over, for instance after this one stood still */
  check(): void {
    try {
      const text = readFileSync(this.#path, 'utf8');
      if (text === this.#text && numbers(this.#folder).at(-1) === this.#number) return;
    } catch (cause) {
      // A file system that fails for a moment says nothing of the lock.
      if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return;
    }
    throw new EliError('RUN_FOLDER', `the run folder '${this.#folder}' no longer belongs to this process`, {
      hint: 'another process has taken it over, or its lock was removed: nothing more is written',
    });
  }

  /** Gives the folder back; also done when the process ends. */
  readonly release = (): void => {
    clearInterval(this.#timer);
    process.off('exit', this.release);
    unlessItFails(() => {
      if (readFileSync(this.#path, 'utf8') === this.#text) rmSync(this.#path);
    });
  };
}

/** Whether a name in a folder is a lock's. */
export function isLock(name: string): boolean {
  return NAME.test(name);
}

function pathOf(folder: string, number: number): string {
  return join(folder, `.lock-${number}`);
}

/** The locks of a folder, the one that counts last. */
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

/** False where the file is there already. @throws EliError `FILE` */
function create(path: string, text: string): boolean {
  try {
    writeFileSync(path, text, { flag: 'wx' });
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw fileError('write', path, cause);
  }
}

/** The owner of a lock, if there is such a lock and that process is alive. */
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
    // It ended before it had written its lock.
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
  // Elsewhere, or where a system does not say when a process began, only the time of the lock can tell.
  if (local && born !== undefined) return bornOf(pid) === born;
  return Date.now() - renewed < DEAD_AFTER;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    // EPERM: it is there, and belongs to somebody else.
    return (cause as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function processSpace(): string | undefined {
  return unlessItFails(() => readlinkSync('/proc/self/ns/pid'));
}

/** Undefined where the system does not say; a process that has ended and waits for its parent has none. */
function bornOf(pid: number): string | undefined {
  const stat = unlessItFails(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // After the name in parentheses, which may hold anything: the state, and 19 fields on when it began.
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
