import { existsSync } from 'node:fs';
import { readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AbortError, unlessAborted } from '../abort.ts';
import type { Values } from '../config.ts';
import type { ImageData } from '../data/image-set.ts';
import { brief, EliError, isRecord } from '../errors.ts';
import { writeFileAtomic } from '../files/atomic.ts';
import { readConfig } from '../files/config-file.ts';
import type { AdapterReport } from '../gpu/adapter.ts';
import type { Engine } from '../gpu/engine.ts';
import { eventsCsv } from '../report/csv.ts';
import { stableJson, writeJson } from '../report/json.ts';
import type { Progress } from '../report/progress.ts';
import { CONFIG_FILE, defaultRunFolder, ENVIRONMENT_FILE, lockRunFolder } from '../report/run-folder.ts';
import { type RunEvent, RunLog } from '../report/run-log.ts';
import { type Measured, TensorBoard } from '../report/tensorboard.ts';
import { type Scope, withScope } from '../tensor/scope.ts';
import type { Checkpoint } from './checkpoint.ts';
import { type Environment, environmentOf } from './environment.ts';

const DONE_FILE = 'done.json';

/** A run was stopped on request; nothing that it has learnt is lost. */
export class RunStopped extends AbortError {
  /** @param begun whether there is something to resume */
  constructor(folder: string, signal: AbortSignal | undefined, begun = true) {
    const [message, hint] = begun
      ? [`the run was stopped; its state is saved in ${folder}`, `continue with --resume --out ${folder}`]
      : ['the run was stopped before it began', 'repeat the command'];
    super(message, { signal, ...(hint !== undefined && { hint }) });
  }
}

/** How a run, or one of its seeds, is carried out. */
export interface RunOptions {
  /** Existing folder for the log, checkpoint and results. */
  readonly folder: string;
  /** Whether to continue from the folder's checkpoint; without one the run starts at the beginning. */
  readonly resume: boolean;
  readonly progress: Progress;
  /** Whether to draw pictures. */
  readonly pictures: boolean;
  /** Whether to write an event file for TensorBoard. */
  readonly tensorboard?: boolean;
  /** Stops the run: it writes a checkpoint and rejects with `RunStopped`. */
  readonly signal?: AbortSignal | undefined;
  /** Called before anything is written; throws if another process has taken over the folder. */
  readonly guard?: (() => void) | undefined;
}

/** What `runStages` opens for a run. */
export interface RunParts<C, R extends RunOptions> {
  readonly engine: Engine;
  readonly config: C;
  readonly run: R;
  /** Owns what the run has on the device. */
  readonly scope: Scope;
  readonly log: RunLog;
  readonly board?: TensorBoard | undefined;
}

/** How far a run, or one of its seeds, has come. Each experiment adds what its stages pass on to later ones. */
export class RunState<C, R extends RunOptions> {
  readonly engine: Engine;
  readonly config: C;
  readonly run: R;
  readonly scope: Scope;
  readonly #log: RunLog;
  readonly #board: TensorBoard | undefined;

  constructor({ engine, config, run, scope, log, board }: RunParts<C, R>) {
    this.engine = engine;
    this.config = config;
    this.run = run;
    this.scope = scope;
    this.#log = log;
    this.#board = board;
  }

  /** Writes an event to the log and, with what was `measured` of it, to the board. */
  event(event: RunEvent, measured?: Measured): void {
    this.#log.write(event);
    this.#board?.write(event, measured);
  }

  /** Writes what is made of the whole log, and the pictures to the board. */
  async finish(): Promise<void> {
    const { guard, folder, pictures } = this.run;
    guard?.();
    await writeFileAtomic(join(folder, 'metrics.csv'), eventsCsv(this.#log.events()));
    if (pictures) await this.#board?.addPictures();
  }

  /** Has `save` write a checkpoint that matches the current log. */
  async saveCheckpoint(save: (folder: string, logLength: number) => Promise<void>): Promise<void> {
    this.run.guard?.();
    this.#log.flush();
    await save(this.run.folder, this.#log.length);
  }

  /** Call this only where everything learnt is in a checkpoint, or will be written to one. @throws RunStopped */
  check(): void {
    const { guard, signal, folder } = this.run;
    guard?.();
    if (signal?.aborted === true) throw new RunStopped(folder, signal);
  }

  /**
   * The result of work that may be abandoned. When the run is to stop, the work is not awaited: it fails by itself once
   * its tensors are disposed of.
   * @throws RunStopped, and what the work throws
   */
  unlessStopped<T>(work: Promise<T>): Promise<T> {
    const { signal, folder } = this.run;
    // It may fail after that.
    work.catch(() => undefined);
    return unlessAborted(
      signal,
      () => work,
      () => new RunStopped(folder, signal),
    );
  }
}

/** Completes a config and lists forbidden changes, as a `ConfigTable` does. */
export interface ConfigRules<C> {
  complete(part: Partial<C>): C;
  /** Such as "batch was 64, is now 128". */
  differences(before: C, now: C): string[];
}

/** @throws EliError `CONFIG` naming each changed key that a resumed run may not change. */
function checkSameConfig<C>(rules: ConfigRules<C>, folder: string, before: C, now: C): void {
  const changed = rules.differences(before, now);
  if (changed.length === 0) return;
  throw new EliError('CONFIG', `the run in ${folder} has a different config: ${changed.join('; ')}`, {
    hint: 'resume without these flags, or start a new run with another --out',
  });
}

/** A progress that stops the run at an update, if asked to: for work of many parts that may be abandoned. */
export function stoppable(progress: Progress, run: { check(): void }): Progress {
  return (...work) => {
    const bar = progress(...work);
    const update: typeof bar.update = (...done) => {
      bar.update(...done);
      run.check();
    };
    return { ...bar, update };
  };
}

/** One part of a run. */
export interface Stage<S> {
  readonly name: string;
  /** Whether the state already holds the outcome, because it came from a checkpoint. */
  done(state: S): boolean;
  run(state: S): Promise<void>;
}

/** An experiment as `runStages` runs it. */
export interface Experiment<C, R extends RunOptions, B extends Checkpoint<C>, S extends RunState<C, R>> {
  readonly rules: ConfigRules<C>;
  readCheckpoint(folder: string): Promise<B | undefined>;
  /** The state before the first stage, or at a checkpoint. */
  begin(parts: RunParts<C, R>, before: B | undefined): S;
  /** In this order. */
  readonly stages: readonly Stage<S>[];
}

/**
 * Runs those stages of a run, or of one of its seeds, that its checkpoint does not include; it can be stopped before each.
 * @returns the final state, whose scope has been disposed of
 * @throws EliError `CONFIG` if the checkpoint's config differs in keys that may not change; RunStopped
 */
export async function runStages<C, R extends RunOptions, B extends Checkpoint<C>, S extends RunState<C, R>>(
  engine: Engine,
  config: C,
  run: R,
  { rules, readCheckpoint, begin, stages }: Experiment<C, R, B, S>,
): Promise<S> {
  const { folder, resume } = run;
  const before = resume ? await readCheckpoint(folder) : undefined;
  if (before !== undefined) checkSameConfig(rules, folder, before.config, config);
  // Events after the checkpoint are cut off.
  const log = new RunLog(join(folder, 'log.jsonl'), { resume, length: before?.logLength ?? 0 });
  let board: TensorBoard | undefined;
  try {
    board = run.tensorboard === true ? new TensorBoard(folder, log.events()) : undefined;
    return await withScope(engine, async (scope) => {
      const state = begin({ engine, config, run, scope, log, board }, before);
      for (const stage of stages) {
        if (stage.done(state)) continue;
        state.check();
        await stage.run(state);
      }
      await state.finish();
      return state;
    });
  } finally {
    log.close();
    board?.close();
  }
}

export interface SessionOptions {
  /** Folder of the run; with `resume`, the folder of an earlier one. */
  readonly folder?: string | undefined;
  readonly resume: boolean;
  readonly signal?: AbortSignal;
  /** Flags of the command line that are not config keys. */
  readonly options?: Values;
}

/** One run in a folder that only this process writes to. */
export interface RunSession<C> {
  readonly folder: string;
  readonly config: C;
  /** Flags that are not config keys; a resume keeps earlier values unless they are given again. */
  readonly options: Values;
  /** Whether the run was already complete: then it is only evaluated and drawn again as needed. */
  readonly wasComplete: boolean;
  /** @throws RunStopped, EliError `RUN_FOLDER` if another process has taken over the folder */
  check(): void;
  /**
   * Writes the config and, if it has changed, the environment. The run can be resumed from then on.
   * @throws EliError `CONFIG` when the data differ from those that the run began with
   */
  begin(adapter: AdapterReport, data: ImageData): Promise<void>;
  /** The options for the experiment. */
  run(progress: Progress): RunOptions;
}

/**
 * Locks the folder of a run for `work`. After it, the folder holds config.json, environment.json (an entry for each
 * machine or setting that the run was computed with), the experiment's files, and done.json, written last. A folder that
 * was made here and is still empty is removed. A resumed run has the config of its folder: `given` may be empty, and may
 * change only free keys.
 *
 * @param name of the run, for the default folder
 * @throws EliError `RUN_FOLDER` when another process holds the folder (it says which), it has other files, or there
 * is no run to resume; `CONFIG` naming the keys that may not change; and what `work` throws
 */
export async function withRunSession<C, T>(
  rules: ConfigRules<C>,
  given: Partial<C>,
  { folder: named, resume, signal, options: flags }: SessionOptions,
  name: (config: C) => string,
  work: (session: RunSession<C>) => Promise<T>,
): Promise<T> {
  if (resume && named === undefined)
    throw new EliError('CONFIG', '--resume needs --out: the folder of the run to continue');
  const fresh = resume ? undefined : rules.complete(given);
  const folder = named ?? defaultRunFolder(name(fresh!), new Date());
  const made = !existsSync(folder);
  const lock = await lockRunFolder(folder, { resume });
  try {
    const saved = fresh ?? rules.complete(readConfig<C>(join(folder, CONFIG_FILE)));
    const config = fresh ?? rules.complete({ ...saved, ...given });
    checkSameConfig(rules, folder, saved, config);
    const before = resume ? await readEnvironments(folder) : [];
    const options = { ...before.at(-1)?.options, ...flags };
    let begun = resume;
    const check = (): void => {
      lock.check();
      if (signal?.aborted === true) throw new RunStopped(folder, signal, begun);
    };
    const result = await work({
      folder,
      config,
      options,
      wasComplete: existsSync(join(folder, DONE_FILE)),
      check,
      begin: async (adapter, data) => {
        check();
        await writeBeginning(folder, config, before, environmentOf(adapter, data, options));
        begun = true;
      },
      run: (progress) => ({
        folder,
        resume,
        progress,
        pictures: options.pictures !== false,
        tensorboard: options.tensorboard === true,
        signal,
        guard: () => lock.check(),
      }),
    });
    lock.check();
    await writeJson(join(folder, DONE_FILE), { finished: new Date().toISOString() });
    return result;
  } finally {
    lock.release();
    if (made) await rmdir(folder).catch(() => undefined);
  }
}

async function writeBeginning(
  folder: string,
  config: unknown,
  earlier: readonly Environment[],
  now: Environment,
): Promise<void> {
  const before = earlier.at(-1);
  const other = Object.entries(now.data.sha256)
    .filter(([name, digest]) => before !== undefined && before.data.sha256[name] !== digest)
    .map(([name]) => name);
  if (other.length > 0) {
    throw new EliError(
      'CONFIG',
      `the run in ${folder} began with other data: its ${other.join(', ')} came from ${before!.data.source}`,
      { hint: 'resume with the same data set, or start a new run with another --out' },
    );
  }
  await rm(join(folder, DONE_FILE), { force: true });
  const same = stableJson({ ...before, started: '' }) === stableJson({ ...now, started: '' });
  // Before the config, which makes a run resumable: the run then knows its data.
  const environment = join(folder, ENVIRONMENT_FILE);
  if (!same) await writeJson(environment, [...earlier, now]);
  try {
    await writeJson(join(folder, CONFIG_FILE), config);
  } catch (error) {
    // So that the folder can be used again once there is room.
    if (before === undefined) await rm(environment, { force: true });
    throw error;
  }
}

/** The environments of earlier sessions: none if the run wrote none, because it was stopped or an older version made it. */
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
