import { EliError } from '../errors.ts';
import { type LatentSource, openLatents } from '../files/latents.ts';
import { Engine } from '../gpu/engine.ts';
import { interruptSignal } from './interrupt.ts';

/** Numbers that a batch of latents holds at most: 8 MiB of float32. */
const BATCH_FLOATS = 2 << 20;

export function rowsPerBatch(dim: number): number {
  return Math.max(1, Math.floor(BATCH_FLOATS / dim));
}

export interface Session {
  readonly engine: Engine;
  /** @throws EliError `ABORTED` after Ctrl-C */
  readonly check: () => void;
  readonly signal: AbortSignal;
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
  const check = (): void => {
    if (signal.aborted) throw new EliError('ABORTED', 'stopped; no file was written');
  };
  const latents = {} as Record<Names, LatentSource>;
  let engine: Engine | undefined;
  try {
    for (const [name, path] of Object.entries(paths) as [Names, string][])
      latents[name] = await openLatents(path);
    engine = await Engine.create(adapter === undefined ? {} : { adapter });
    check();
    await work({ engine, check, signal }, latents);
  } finally {
    done();
    engine?.dispose();
    await Promise.all(Object.values<LatentSource>(latents).map((source) => source.close()));
  }
}

/** @throws EliError `SHAPE` unless both hold a row for each of the same samples */
export function checkPairs(previous: LatentSource, current: LatentSource): void {
  if (previous.rows === current.rows && previous.dim === current.dim) return;
  throw new EliError(
    'SHAPE',
    `${previous.name} [${previous.rows}, ${previous.dim}] and ${current.name} [${current.rows}, ${current.dim}] do not pair up`,
    { hint: 'both are [n, d]: the same n inputs through the previous and the current model' },
  );
}

/** @throws EliError `SHAPE` unless the latents are of the aligner's size */
export function checkDim(source: LatentSource, dim: number, path: string): void {
  if (source.dim === dim) return;
  throw new EliError('SHAPE', `${source.name} has latents of ${source.dim} numbers, ${path} aligns ${dim}`, {
    hint: 'give latents of the model that the aligner was fitted to',
  });
}
