import { existsSync } from 'node:fs';
import { readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageData } from '../data/image-set.ts';
import { brief, EliError, isRecord } from '../errors.ts';
import { readConfig } from '../files/config-file.ts';
import type { AdapterReport } from '../gpu/adapter.ts';
import { stableJson, writeJson } from '../report/json.ts';
import type { Progress } from '../report/progress.ts';
import { CONFIG_FILE, defaultRunFolder, ENVIRONMENT_FILE, lockRunFolder } from '../report/run-folder.ts';
import type { RunLock } from '../report/run-lock.ts';
import { type RunEvent, RunLog } from '../report/run-log.ts';
import { type Environment, environmentOf } from './environment.ts';

const DONE_FILE = 'done.json';

/** A run that was asked to stop has stopped, and nothing that it has learnt is lost. */
export class RunStopped extends EliError {
  /** @param begun whether there is something to resume */
  constructor(folder: string, begun = true) {
    super(
      'ABORTED',
      begun ? `the run was stopped; ${folder} holds where it stood` : `the run was stopped before it began`,
      { hint: begun ? `go on with --resume --out ${folder}` : 'repeat the command' },
    );
  }
}

/** What a run, or one of its seeds, is done with. */
export interface RunOptions {
  /** Folder of its log, checkpoint and results. It must exist. */
  readonly folder: string;
  /** Goes on from the checkpoint in the folder, from the beginning where there is none yet. */
  readonly resume: boolean;
  readonly progress: Progress;
  /** Stops it, with a checkpoint, by `RunStopped`. */
  readonly signal?: AbortSignal | undefined;
  /** Called before anything is written; throws where the folder is another process's. */
  readonly guard?: (() => void) | undefined;
}

/** The log and the checkpoints of a run, or of one of its seeds. */
export class RunRecord {
  readonly options: RunOptions;
  readonly #log: RunLog;

  /** Opens the log, and cuts off what came after the checkpoint, which wrote down the log's length. */
  constructor(options: RunOptions, length: number) {
    this.options = options;
    const { folder, resume } = options;
    this.#log = new RunLog(join(folder, 'log.jsonl'), { resume, length });
  }

  event(event: RunEvent): void {
    this.#log.write(event);
  }

  /** Has `save` write a checkpoint that goes with the log as it stands. */
  async checkpoint(save: (logLength: number) => Promise<void>): Promise<void> {
    this.options.guard?.();
    this.#log.flush();
    await save(this.#log.length);
  }

  /** To be called where a checkpoint holds what was learnt, or one will be written. @throws RunStopped */
  check(): void {
    const { guard, signal, folder } = this.options;
    guard?.();
    if (signal?.aborted === true) throw new RunStopped(folder);
  }

  /**
   * The outcome of work of which nothing is lost. Where the run is to stop, it is not waited for: it ends by itself when
   * what it uses is disposed of.
   * @throws RunStopped, and what the work throws
   */
  unlessStopped<T>(work: Promise<T>): Promise<T> {
    const { signal, folder } = this.options;
    return new Promise((resolve, reject) => {
      const stop = (): void => reject(new RunStopped(folder));
      signal?.addEventListener('abort', stop, { once: true });
      if (signal?.aborted === true) stop();
      work.then(resolve, reject).finally(() => signal?.removeEventListener('abort', stop));
    });
  }

  close(): void {
    this.#log.close();
  }
}

/** What makes a complete config of a part of one, and says what differs though it may not. */
export interface ConfigRules<C> {
  complete(part: Partial<C>): C;
  /** Such as "batch was 64, is now 128". */
  differences(before: C, now: C): string[];
}

/** @throws EliError `CONFIG` naming each key that differs though a resumed run may not change it. */
export function checkSameConfig<C>(rules: ConfigRules<C>, folder: string, before: C, now: C): void {
  const changed = rules.differences(before, now);
  if (changed.length === 0) return;
  throw new EliError('CONFIG', `the run in ${folder} has another config: ${changed.join('; ')}`, {
    hint: 'resume without these flags, or start a new run with another --out',
  });
}

/** A progress at whose updates the run may be stopped: for work of many parts of which nothing is lost. */
export function stoppable(progress: Progress, run: { check(): void }): Progress {
  return (...work) => {
    const bar = progress(...work);
    const update: typeof bar.update = (...done) => {
      bar.update(...done);
      run.check();
    };
    return { update, done: () => bar.done() };
  };
}

/** One part of a run, in the order in which they are done. */
export interface Stage<S> {
  readonly name: string;
  /** Whether the state, as a checkpoint gave it, holds the outcome already. */
  done(state: S): boolean;
  run(state: S): Promise<void>;
}

/** Does the stages that are not done yet; before each the run may be stopped. */
export async function runStages<S>(stages: readonly Stage<S>[], state: S, record: RunRecord): Promise<void> {
  for (const stage of stages) {
    if (stage.done(state)) continue;
    record.check();
    await stage.run(state);
  }
}

export interface SessionOptions {
  /** Folder of the run; with `resume` that of an earlier one. */
  readonly folder?: string | undefined;
  readonly resume: boolean;
  readonly signal?: AbortSignal;
  /** What the command line gave beside the config, by flag. */
  readonly options?: Readonly<Record<string, unknown>>;
}

/**
 * One run: a folder that this process alone writes to. In it stand config.json, environment.json (an entry for each
 * machine or setting the run was computed with), what the experiment writes, and at last done.json.
 */
export class RunSession<C> {
  readonly folder: string;
  readonly config: C;
  readonly resumed: boolean;
  /** Whether the run was complete before: it is then only measured and drawn again where that is needed. */
  readonly wasComplete: boolean;
  /** What the command line gives beside the config; on a resume, what it gave before where it is silent now. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly #lock: RunLock;
  readonly #signal: AbortSignal | undefined;
  readonly #before: readonly Environment[];
  /** Whether there is something to resume. */
  #begun: boolean;
  /** Whether the folder was made by this session. */
  readonly #made: boolean;

  private constructor(
    folder: string,
    lock: RunLock,
    { signal, options, resume }: SessionOptions,
    config: C,
    before: readonly Environment[],
    made = false,
  ) {
    this.#made = made;
    this.#begun = resume;
    this.folder = folder;
    this.config = config;
    this.resumed = resume;
    this.wasComplete = existsSync(join(folder, DONE_FILE));
    this.options = { ...before.at(-1)?.options, ...options };
    this.#lock = lock;
    this.#signal = signal;
    this.#before = before;
  }

  /**
   * Locks the folder of a run. A resumed run has the config of its folder: `given` may be empty, and may differ in what
   * is free to differ. Nothing but the lock is written yet.
   *
   * @param name of the run, for its folder where none is given
   * @throws EliError `RUN_FOLDER` when another process holds the folder (it says which), it has other files, or there
   * is no run to resume; `CONFIG` naming the keys that may not differ
   */
  static async open<C>(
    rules: ConfigRules<C>,
    given: Partial<C>,
    options: SessionOptions,
    name: (config: C) => string,
  ): Promise<RunSession<C>> {
    const { resume } = options;
    if (resume && options.folder === undefined) {
      throw new EliError('CONFIG', '--resume needs --out: the folder of the run to go on with');
    }
    const fresh = resume ? undefined : rules.complete(given);
    const folder = options.folder ?? defaultRunFolder(name(fresh!), new Date());
    const made = !existsSync(folder);
    const lock = await lockRunFolder(folder, { resume });
    try {
      if (fresh !== undefined) return new RunSession(folder, lock, options, fresh, [], made);
      const before = rules.complete(readConfig<C>(join(folder, CONFIG_FILE)));
      const now = rules.complete({ ...before, ...given });
      checkSameConfig(rules, folder, before, now);
      return new RunSession(folder, lock, options, now, await readEnvironments(folder));
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Writes the config and, where it is another than before, the environment. Work begins here.
   * @throws EliError `CONFIG` when the data are not those that the run began with
   */
  async begin(adapter: AdapterReport, data: ImageData): Promise<void> {
    this.check();
    const now = environmentOf(adapter, data, this.options);
    const before = this.#before.at(-1);
    const other = Object.entries(now.data.sha256)
      .filter(([name, digest]) => before !== undefined && before.data.sha256[name] !== digest)
      .map(([name]) => name);
    if (other.length > 0) {
      throw new EliError(
        'CONFIG',
        `the run in ${this.folder} began with other data: its ${other.join(', ')} came from ${before!.data.source}`,
        { hint: 'resume with the same data set, or start a new run with another --out' },
      );
    }
    await rm(join(this.folder, DONE_FILE), { force: true });
    const same = stableJson({ ...before, started: '' }) === stableJson({ ...now, started: '' });
    // Before the config: a run that can be resumed knows its data.
    if (!same) await writeJson(join(this.folder, ENVIRONMENT_FILE), [...this.#before, now]);
    await writeJson(join(this.folder, CONFIG_FILE), this.config);
    this.#begun = true;
  }

  /** What the experiment needs of it. */
  run(progress: Progress): RunOptions {
    return {
      folder: this.folder,
      resume: this.resumed,
      progress,
      signal: this.#signal,
      guard: () => this.#lock.check(),
    };
  }

  /** @throws RunStopped, EliError `RUN_FOLDER` where another process has taken the folder over */
  check(): void {
    this.#lock.check();
    if (this.#signal?.aborted === true) throw new RunStopped(this.folder, this.#begun);
  }

  /** Says that the run is complete: the last file that it writes. */
  async finish(): Promise<void> {
    this.#lock.check();
    await writeJson(join(this.folder, DONE_FILE), { finished: new Date().toISOString() });
  }

  /** Gives the folder back; one that it made and wrote nothing to is removed. */
  async close(): Promise<void> {
    this.#lock.release();
    if (this.#made) await rmdir(this.folder).catch(() => undefined);
  }
}

/** None where the run was stopped before, or is of a version that did not write them. */
async function readEnvironments(folder: string): Promise<Environment[]> {
  const path = join(folder, ENVIRONMENT_FILE);
  if (!existsSync(path)) return [];
  let value: unknown;
  try {
    value = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new EliError('FORMAT', `${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  const entries = Array.isArray(value) ? value : [undefined];
  if (!entries.every((entry) => isRecord(entry) && isRecord(entry.data) && isRecord(entry.data.sha256)))
    throw new EliError('FORMAT', `${path} is ${brief(value)}, must be a list of environments`);
  return entries as Environment[];
}
