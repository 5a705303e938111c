import type { Command } from 'commander';
import type { ConfigOf, ConfigTable, Keys, Values } from '../config.ts';
import type { ImageData } from '../data/image-set.ts';
import { type RunSession, withRunSession } from '../experiments/session.ts';
import { Engine } from '../gpu/engine.ts';
import { ADAPTER, addConfigFlags, givenConfig } from './flags.ts';
import { interruptSignal } from './interrupt.ts';

/** Options of every run, for `command.option`. */
export const RESUME = ['--resume', 'continue the run in --out, with its config'] as const;
export const CONFIG = ['--config <file>', 'JSON file with config keys; flags override it'] as const;
export const NO_PICTURES = ['--no-pictures', 'draw no pictures'] as const;
export const TENSORBOARD = [
  '--tensorboard',
  'write an event file of figures and pictures too, for `tensorboard --logdir`',
] as const;

interface RunFlags extends Values {
  readonly out?: string;
  readonly resume?: boolean;
  readonly config?: string;
  readonly adapter?: string;
}
/** Flags that are not stored with the run; a resume repeats the others. */
const NOT_STORED = ['out', 'resume', 'config'];

const STOPPING = `
SIGINT (Ctrl-C), SIGTERM, SIGHUP or SIGUSR1 stops a run: it writes a checkpoint and ends with exit code 75; --resume
--out FOLDER continues it. A second signal ends it at once (130, or 143 for SIGTERM). Other exit codes: 0 done, 1 failed,
2 wrong flags or config. npx does not pass signals on: batch jobs call \`node node_modules/eli-webgpu/src/cli/eli.mjs …\`.`;

/** What a command that runs an experiment does. */
export interface RunWork<K extends Keys, D> {
  readonly table: ConfigTable<K>;
  /** The name of the run's default folder. */
  name(config: ConfigOf<ConfigTable<K>>): string;
  load(session: RunSession<ConfigOf<ConfigTable<K>>>): Promise<D>;
  work(session: RunSession<ConfigOf<ConfigTable<K>>>, engine: Engine, data: D): Promise<void>;
}

/** Makes `command`, which has its specific options already, run an experiment; adds the flags of the config. */
export function addRun<K extends Keys, D extends ImageData>(command: Command, run: RunWork<K, D>): void {
  const stored = command.options
    .map((option) => option.attributeName())
    .filter((name) => !NOT_STORED.includes(name));
  addConfigFlags(command.option(...ADAPTER), run.table);
  command.addHelpText('after', STOPPING);
  command.action((flags: RunFlags) => {
    // Without the defaults.
    const given = stored.filter((name) => command.getOptionValueSource(name) === 'cli');
    return runSession(flags, Object.fromEntries(given.map((name) => [name, flags[name]])), run);
  });
}

/**
 * Runs an experiment in a folder: the folder is checked and locked first, then the data are read and the adapter is
 * opened. A signal stops the run once its checkpoint is written.
 */
async function runSession<K extends Keys, D extends ImageData>(
  flags: RunFlags,
  options: Values,
  { table, name, load, work }: RunWork<K, D>,
): Promise<void> {
  const { signal, done } = interruptSignal('stopping as soon as a checkpoint is written');
  const { out: folder, resume = false, adapter } = flags;
  const session = { folder, resume, signal, options };
  try {
    await withRunSession(table, givenConfig(table, flags), session, name, async (run) => {
      if (run.wasComplete) process.stderr.write(`the run in ${run.folder} is complete already\n`);
      const data = await load(run);
      run.check();
      const engine = await Engine.create({ adapter });
      try {
        await run.begin(engine.adapter, data);
        process.stderr.write(`data: ${data.source}\n`);
        process.stderr.write(`adapter: ${engine.adapter.name} (${engine.adapter.driver})\n`);
        process.stderr.write(`run folder: ${run.folder}\n`);
        await work(run, engine, data);
      } finally {
        engine.dispose();
      }
    });
  } finally {
    done();
  }
}
