import { stopIfAborted } from '../abort.ts';
import { EliError } from '../errors.ts';
import type { LatentSource } from '../files/latents.ts';
import type { Engine } from '../gpu/engine.ts';
import { tensor } from '../tensor/create.ts';
import { permutation } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LatentMap } from './maps/map.ts';

/** How work on files of latents is followed and stopped. */
export interface RowHooks {
  /** Stops the work at once: it rejects with an `AbortError`, and files it was writing are removed. */
  readonly signal?: AbortSignal | undefined;
  /** Called after each batch with the rows done so far. */
  readonly onProgress?: (rows: number) => void;
}

/** Largest batch of latents: 8 MiB of float32. */
const BATCH_FLOATS = 2 << 20;
/** Most bytes of one model's latents in memory. */
const MAX_BYTES = 1 << 30;

/** Rows of a batch of latents of d numbers. */
export function rowsPerBatch(dim: number): number {
  return Math.max(1, Math.floor(BATCH_FLOATS / dim));
}

/** Most rows of d numbers in one tensor, by the device's storage bindings and by memory. */
export function maxRows(engine: Engine, dim: number): number {
  const { maxBufferSize, maxStorageBufferBindingSize } = engine.device.limits;
  return Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize, MAX_BYTES) / (4 * dim));
}

/** What an `AbortError` of work on files says. */
export const STOPPED = 'stopped; no file was written';

/** @throws EliError `SHAPE` unless both files have the same shape */
export function checkSameRows(previous: LatentSource, current: LatentSource): void {
  if (previous.rows === current.rows && previous.dim === current.dim) return;
  throw new EliError(
    'SHAPE',
    `${previous.name} [${previous.rows}, ${previous.dim}] and ${current.name} [${current.rows}, ${current.dim}] do not pair up`,
    { hint: 'both are [n, d]: the same n inputs through the previous and the current model' },
  );
}

/** @throws EliError `SHAPE` unless the latents are of the size that the map aligns */
export function checkLatentSize(source: LatentSource, map: LatentMap): void {
  if (source.dim === map.latent) return;
  throw new EliError(
    'SHAPE',
    `${source.name} has latents of ${source.dim} numbers, the map aligns ${map.latent}`,
    { hint: 'give latents of the model that the map was fitted to' },
  );
}

/** @throws EliError `ARGUMENT` for a map without an energy where `what` needs one */
export function checkEnergy(map: LatentMap, what: string): void {
  if (map.energy !== undefined) return;
  throw new EliError('ARGUMENT', `${what} needs energies, which this map does not have`, {
    hint: 'fit an aligner: a control (--control) has no energy',
  });
}

/** Row numbers of at most `most` pairs in ascending order, drawn without replacement; `undefined`: all. */
export function choosePairs(rows: number, most: number, seed: number): Uint32Array | undefined {
  if (rows <= most) return undefined;
  return permutation(rows, { seed, stream: STREAM.pairs }).slice(0, most).sort();
}

/**
 * Rows of a file as a tensor f32 [rows, d]: `chosen` are their numbers in ascending order, `undefined` takes all. The
 * whole file is read once, and so checked.
 * @throws AbortError, and what `source.batches` throws
 */
export async function readRows(
  engine: Engine,
  source: LatentSource,
  chosen: Uint32Array | undefined,
  { signal, onProgress }: RowHooks = {},
): Promise<Tensor> {
  const { rows, dim } = source;
  const count = chosen?.length ?? rows;
  const held = new Float32Array(count * dim);
  let first = 0;
  let taken = 0;
  for await (const batch of source.batches(rowsPerBatch(dim))) {
    stopIfAborted(signal, STOPPED);
    const end = first + batch.length / dim;
    if (chosen === undefined) held.set(batch, first * dim);
    for (; chosen !== undefined && chosen[taken]! < end; taken++) {
      const at = (chosen[taken]! - first) * dim;
      held.set(batch.subarray(at, at + dim), taken * dim);
    }
    first = end;
    onProgress?.(first);
  }
  return tensor(engine, held, [count, dim]);
}
