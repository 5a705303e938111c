import { stopIfAborted } from '../eli/rows.ts';
import { type LatentSource, openLatents } from '../files/latents.ts';
import { Engine } from '../gpu/engine.ts';
import { createProgress } from '../report/progress.ts';
import { interruptSignal } from './interrupt.ts';

export interface Session {
  readonly engine: Engine;
  /** Raised by Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
  /** Does work that goes through `total` things, with the signal and a bar of its progress. */
  readonly withBar: <T>(
    name: string,
    total: number,
    unit: string,
    work: (hooks: {
      readonly signal: AbortSignal;
      readonly onProgress: (done: number, text?: string) => void;
    }) => Promise<T>,
  ) => Promise<T>;
}

/**
 * Opens latents, then an engine, and runs `work`; closes all of it. Ctrl-C and SIGTERM raise the session's signal:
 * `work` then ends with `ABORTED` after the batch under way, so that the files it was writing are removed.
 */
export async function alignSession<Names extends string>(
  paths: Readonly<Record<Names, string>>,
  adapter: string | undefined,
  work: (session: Session, latents: Readonly<Record<Names, LatentSource>>) => Promise<void>,
): Promise<void> {
  const { signal, done } = interruptSignal('stopping after the batch under way');
  const progress = createProgress();
  const latents = {} as Record<Names, LatentSource>;
  let engine: Engine | undefined;
  try {
    for (const [name, path] of Object.entries(paths) as [Names, string][])
      latents[name] = await openLatents(path);
    engine = await Engine.create(adapter === undefined ? {} : { adapter });
    stopIfAborted(signal);
    const withBar: Session['withBar'] = async (name, total, unit, withHooks) => {
      const bar = progress(name, total, unit);
      try {
        return await withHooks({ signal, onProgress: (count, text) => bar.update(count, text) });
      } finally {
        bar.done();
      }
    };
    await work({ engine, signal, withBar }, latents);
  } finally {
    done();
    engine?.dispose();
    await Promise.all(Object.values<LatentSource>(latents).map((source) => source.close()));
  }
}

/** Says on which adapter the work is done. */
export function sayAdapter(doing: string, { adapter }: Engine): void {
  process.stderr.write(`${doing} on ${adapter.name} (${adapter.driver})\n`);
}
