import { stopIfAborted } from '../abort.ts';
import { STOPPED } from '../eli/rows.ts';
import { type LatentSource, openLatents } from '../files/latents.ts';
import { Engine } from '../gpu/engine.ts';
import { createProgress, withBar } from '../report/progress.ts';
import { interruptSignal } from './interrupt.ts';

interface Hooks {
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, text?: string) => void;
}

/** Flags of every `eli align` command. */
export interface AlignFlags {
  readonly out: string;
  readonly adapter?: string;
  readonly force?: boolean;
}

export interface Session {
  readonly engine: Engine;
  /** Raised by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
  /** Does work on `total` items, with the signal and a progress bar. */
  readonly withBar: <T>(
    name: string,
    total: number,
    unit: string,
    work: (hooks: Hooks) => Promise<T>,
  ) => Promise<T>;
}

/**
 * Opens latents, then an engine, runs `work` and closes all of it. Ctrl-C and SIGTERM raise the session's signal: `work`
 * then ends with `ABORTED` after the current batch, so that the files it was writing are removed.
 */
export async function alignSession<Names extends string>(
  paths: Readonly<Record<Names, string>>,
  { adapter }: AlignFlags,
  work: (session: Session, latents: Readonly<Record<Names, LatentSource>>) => Promise<void>,
): Promise<void> {
  const { signal, done } = interruptSignal('stopping after the current batch');
  const progress = createProgress();
  const latents = {} as Record<Names, LatentSource>;
  let engine: Engine | undefined;
  try {
    for (const [name, path] of Object.entries(paths) as [Names, string][])
      latents[name] = await openLatents(path);
    engine = await Engine.create({ adapter });
    stopIfAborted(signal, STOPPED);
    const withHooks: Session['withBar'] = (name, total, unit, hooked) =>
      withBar(progress(name, total, unit), ({ update: onProgress }) => hooked({ signal, onProgress }));
    await work({ engine, signal, withBar: withHooks }, latents);
  } finally {
    done();
    engine?.dispose();
    await Promise.all(Object.values<LatentSource>(latents).map((source) => source.close()));
  }
}

/** Prints which adapter does the work. */
export function sayAdapter(doing: string, { adapter }: Engine): void {
  process.stderr.write(`${doing} on ${adapter.name} (${adapter.driver})\n`);
}
