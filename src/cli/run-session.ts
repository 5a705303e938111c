import type { Command } from 'commander';
import type { ImageData } from '../data/image-set.ts';
import { type ConfigRules, RunSession } from '../experiments/session.ts';
import { Engine } from '../gpu/engine.ts';
import { interruptSignal } from './interrupt.ts';

/** Flags that every run has. */
export interface RunFlags {
  readonly out?: string;
  readonly resume?: boolean;
  readonly adapter?: string;
}

/** The flags `names` that the command line gives, not those that have their default. */
export function givenOptions(command: Command, names: readonly string[]): Record<string, unknown> {
  const given = names.filter((name) => command.getOptionValueSource(name) === 'cli');
  return Object.fromEntries(given.map((name) => [name, command.getOptionValue(name)]));
}

/** For the help texts. */
export const STOPPING = `
A run is stopped by SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGUSR1: it writes a checkpoint and ends with exit code 75; --resume
--out FOLDER goes on with it. A second signal ends it at once (130, or 143 for SIGTERM). Other exit codes: 0 done, 1 failed,
2 wrong flags or config. npx does not hand signals on: batch jobs call \`node node_modules/eli-webgpu/src/cli/eli.mjs …\`.`;

export interface RunWork<C, D> {
  readonly rules: ConfigRules<C>;
  /** Keys of the config that the command line gives. */
  readonly given: Partial<C>;
  /** What else it gives and a resume repeats. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Of the run's folder, where none is given. */
  name(config: C): string;
  load(session: RunSession<C>): Promise<D>;
  work(session: RunSession<C>, engine: Engine, data: D): Promise<void>;
}

/**
 * Does a run in its folder: the folder is checked and locked first, then data are read and the adapter is opened. A
 * signal stops it once its checkpoint is written.
 */
export async function runSession<C, D extends ImageData>(
  flags: RunFlags,
  { rules, given, options, name, load, work }: RunWork<C, D>,
): Promise<void> {
  const { signal, done } = interruptSignal('stopping as soon as a checkpoint is written');
  let session: RunSession<C> | undefined;
  let engine: Engine | undefined;
  try {
    const { out: folder, resume = false } = flags;
    session = await RunSession.open(rules, given, { folder, resume, signal, options }, name);
    if (session.wasComplete) process.stderr.write(`the run in ${session.folder} is complete already\n`);
    const data = await load(session);
    session.check();
    engine = await Engine.create(flags.adapter === undefined ? {} : { adapter: flags.adapter });
    await session.begin(engine.adapter, data);
    process.stderr.write(`${data.source} on ${engine.adapter.name} (${engine.adapter.driver})\n`);
    process.stderr.write(`run folder: ${session.folder}\n`);
    await work(session, engine, data);
    await session.finish();
  } finally {
    engine?.dispose();
    await session?.close();
    done();
  }
}
