import { AbortError, stopIfAborted, unlessAborted } from '../abort.ts';
import { checkFinite, type LatentSource } from '../files/latents.ts';
import { writeNpy } from '../files/npy.ts';
import { prefetch } from '../files/prefetch.ts';
import type { Engine } from '../gpu/engine.ts';
import { tensor } from '../tensor/create.ts';
import { withScope } from '../tensor/scope.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Gate } from './gates/gate.ts';
import type { LatentMap } from './maps/map.ts';
import { checkEnergy, checkLatentSize, type RowHooks, rowsPerBatch, STOPPED } from './rows.ts';

/** Settings of `alignBatches`. */
export interface AlignBatchesOptions extends Pick<RowHooks, 'signal'> {
  /** Aligns only the rows that this gate takes for old; it may look at latents and energies. */
  readonly gate?: Gate | undefined;
  /** Adds the energies before and after; the map must have an energy. */
  readonly energies?: boolean;
}

/** A batch of latents after alignment. */
export interface AlignedBatch {
  /** Float32 [n, d] row-major, before and after alignment. */
  readonly current: Float32Array;
  readonly aligned: Float32Array;
  /** Energy of each before and after, [n, 2], if asked for. */
  readonly energies?: Float32Array;
  /** Rows that were aligned: all, or those that the gate takes for old. */
  readonly old: number;
}

/**
 * Aligns latents of a file of any size batch by batch, while the next batch is read.
 * @throws EliError `SHAPE` for latents of another size, `ARGUMENT` when the map lacks an energy that is asked for,
 *   `NON_FINITE` naming row and column where an aligned latent is not finite, `ABORTED`
 */
export async function* alignBatches(
  engine: Engine,
  source: LatentSource,
  map: LatentMap,
  { gate, energies = false, signal }: AlignBatchesOptions = {},
): AsyncGenerator<AlignedBatch> {
  checkLatentSize(source, map);
  if (energies) checkEnergy(map, 'alignBatches');
  let row = 0;
  for await (const current of prefetch(source.batches(rowsPerBatch(source.dim)))) {
    const batch = await unlessAborted(
      signal,
      () => alignBatch(engine, current, map, gate, energies),
      () => new AbortError(STOPPED, { signal }),
    );
    const hint = 'the chain diverges from this latent: fit with a smaller stepSize';
    checkFinite(batch.aligned, source.dim, row, `aligned ${source.name}`, hint);
    yield batch;
    row += current.length / source.dim;
  }
}

/** Aligns the rows of one batch, float32 [n, d] row-major. */
async function alignBatch(
  engine: Engine,
  current: Float32Array,
  map: LatentMap,
  gate: Gate | undefined,
  wanted: boolean,
): Promise<AlignedBatch> {
  const { latent: d } = map;
  const rows = current.length / d;
  return withScope(engine, async (scope) => {
    const energyOf = (latents: Tensor) => map.energy && scope.own(() => map.energy!(latents));
    const before = scope.own(() => tensor(engine, current, [rows, d]));
    const after = scope.own(() => map.align(before));
    const energy = wanted || gate !== undefined ? energyOf(before) : undefined;
    const energyAfter = wanted ? energyOf(after) : undefined;
    const aligned = await after.readFloats();
    const both = energyAfter && (await sideBySide(energy!, energyAfter));
    const decisions = await gate?.decide({ current: before, aligned: after, ...(energy && { energy }) });
    let old = rows;
    decisions?.forEach((isOld, i) => {
      if (isOld === 1) return;
      old--;
      aligned.set(current.subarray(i * d, (i + 1) * d), i * d);
      if (both !== undefined) both[2 * i + 1] = both[2 * i]!;
    });
    return { current, aligned, old, ...(both && { energies: both }) };
  });
}

/** Energies [n] before and after as [n, 2]. */
async function sideBySide(before: Tensor, after: Tensor): Promise<Float32Array<ArrayBuffer>> {
  const [first, second] = await Promise.all([before.readFloats(), after.readFloats()]);
  return Float32Array.from({ length: 2 * first.length }, (_, i) => (i % 2 === 0 ? first : second)[i >> 1]!);
}

/** Settings of `alignFile`. */
export interface AlignFileOptions extends RowHooks, Pick<AlignBatchesOptions, 'gate'> {
  /** Writes the energy of each latent before and after here, .npy, float32 [n, 2]. */
  readonly energiesOut?: string;
}

/**
 * Aligns latents of a file of any size into the file `out`, .npy, float32 [n, d]; files are written atomically.
 * @returns how many rows there are, and how many of them were aligned (all without a gate)
 * @throws EliError as `alignBatches`, and `FILE`
 */
export async function alignFile(
  engine: Engine,
  source: LatentSource,
  map: LatentMap,
  out: string,
  { gate, energiesOut, signal, onProgress }: AlignFileOptions = {},
): Promise<{ readonly rows: number; readonly aligned: number }> {
  const { rows, dim } = source;
  const energies = energiesOut === undefined ? undefined : new Float32Array(2 * rows);
  let done = 0;
  let old = 0;
  async function* content(): AsyncGenerator<Float32Array> {
    const options = { energies: energies !== undefined, gate, signal };
    for await (const batch of prefetch(alignBatches(engine, source, map, options))) {
      yield batch.aligned;
      energies?.set(batch.energies!, 2 * done);
      done += batch.aligned.length / dim;
      old += batch.old;
      onProgress?.(done);
      stopIfAborted(signal, STOPPED);
    }
    // Before the latents get their name: if this fails, neither file exists.
    if (energiesOut !== undefined) await writeNpy(energiesOut, [rows, 2], [energies!]);
  }
  await writeNpy(out, [rows, dim], content());
  return { rows, aligned: old };
}
