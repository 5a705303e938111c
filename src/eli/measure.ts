import { stopIfAborted } from '../abort.ts';
import type { LatentSource } from '../files/latents.ts';
import { prefetch } from '../files/prefetch.ts';
import type { Engine } from '../gpu/engine.ts';
import { tensor } from '../tensor/create.ts';
import { alignBatches } from './apply.ts';
import { DriftMeter, type DriftReport, energyAuroc } from './drift.ts';
import type { LatentMap } from './maps/map.ts';
import { readOnce } from './moments.ts';
import { checkSameRows, type RowHooks, rowsPerBatch, STOPPED } from './rows.ts';

/** Rows whose energies are compared, evenly spread: ranking them needs all in memory. */
const ENERGY_ROWS = 100_000;

/** Energies of the same rows, evenly spread over the files: one number a row. */
export interface EnergyDrift {
  readonly previous: Float32Array;
  readonly current: Float32Array;
  readonly aligned: Float32Array;
}

/** What `measureDrift` finds. */
export interface MeasuredDrift {
  readonly drift: DriftReport;
  /** For a map that has an energy. */
  readonly energies?: EnergyDrift;
  /** How well energy tells the previous model's latents from the others (`energyAuroc`), and by how many rows. */
  readonly auroc?: { readonly rows: number; readonly before: number; readonly after: number };
}

/**
 * Measures, on files of any size, how far the current model's latents have drifted from the previous model's and how much
 * of that the map undoes.
 * @throws EliError `SHAPE` when the files do not pair up or the map aligns another size, `NON_FINITE`, `ABORTED`
 */
export async function measureDrift(
  engine: Engine,
  previous: LatentSource,
  current: LatentSource,
  map: LatentMap,
  { signal, onProgress }: RowHooks = {},
): Promise<MeasuredDrift> {
  checkSameRows(previous, current);
  const { rows, dim } = current;
  const meter = new DriftMeter(dim);
  const wanted = map.energy !== undefined;
  const stride = Math.ceil(rows / ENERGY_ROWS);
  const numbers = () => new Float32Array(Math.ceil(rows / stride));
  const energies = { previous: numbers(), current: numbers(), aligned: numbers() };
  const reference = prefetch(previous.batches(rowsPerBatch(dim)));
  let done = 0;
  try {
    const options = { energies: wanted, signal };
    for await (const batch of prefetch(alignBatches(engine, current, map, options))) {
      // Both files have the same rows, so both sequences have the same batches.
      const before: Float32Array = (await reference.next()).value;
      const n = before.length / dim;
      meter.add(before, batch.current, batch.aligned);
      const known = wanted
        ? await readOnce({ engine }, () => map.energy!(tensor(engine, before, [n, dim])))
        : [];
      for (let i = Math.ceil(done / stride) * stride; wanted && i < done + n; i += stride) {
        energies.previous[i / stride] = known[i - done]!;
        energies.current[i / stride] = batch.energies![2 * (i - done)]!;
        energies.aligned[i / stride] = batch.energies![2 * (i - done) + 1]!;
      }
      done += n;
      onProgress?.(done);
    }
  } finally {
    await reference.return(undefined);
  }
  stopIfAborted(signal, STOPPED);
  const drift = meter.report();
  if (!wanted) return { drift };
  const auroc = {
    rows: energies.previous.length,
    before: energyAuroc(energies.previous, energies.current),
    after: energyAuroc(energies.previous, energies.aligned),
  };
  return { drift, energies, auroc };
}
