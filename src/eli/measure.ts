import type { LatentSource } from '../files/latents.ts';
import { prefetch } from '../files/prefetch.ts';
import type { Engine } from '../gpu/engine.ts';
import { tensor } from '../tensor/create.ts';
import { alignBatches } from './apply.ts';
import { DriftMeter, type DriftReport, energyAuroc } from './drift.ts';
import type { LatentMap } from './maps/map.ts';
import { checkSameRows, type RowHooks, rowsPerBatch, stopIfAborted } from './rows.ts';

/** Rows whose energies are compared, evenly spread: a rank needs all of them in memory. */
const ENERGY_ROWS = 100_000;

/** Energies of the same rows, evenly spread over the files: one number a row. */
export interface EnergyDrift {
  readonly previous: Float32Array;
  readonly current: Float32Array;
  readonly aligned: Float32Array;
}

export interface MeasuredDrift {
  readonly drift: DriftReport;
  /** For a map that has an energy. */
  readonly energies?: EnergyDrift;
  /** How well energy tells the previous model's latents from these, of so many rows (`energyAuroc`). */
  readonly auroc?: { readonly rows: number; readonly before: number; readonly after: number };
}

/**
 * Measures, on files of any size, how far the current model's latents have drifted from the previous model's and how much
 * of that the map takes back.
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
  const energies = map.energy === undefined ? undefined : new EnergySample(rows);
  const reference = prefetch(previous.batches(rowsPerBatch(dim)));
  let done = 0;
  try {
    const options = { energies: energies !== undefined, ...(signal && { signal }) };
    for await (const batch of prefetch(alignBatches(engine, current, map, options))) {
      // Both files have the same rows, so both sequences have the same batches.
      const before: Float32Array = (await reference.next()).value;
      meter.add(before, batch.current, batch.aligned);
      energies?.add(await energyOf(engine, before, map), batch.energies!);
      done += before.length / dim;
      onProgress?.(done);
    }
  } finally {
    await reference.return(undefined);
  }
  stopIfAborted(signal);
  return { drift: meter.report(), ...energies?.report() };
}

/** Energies [n] of rows [n, d] of a map that has an energy. */
async function energyOf(engine: Engine, rows: Float32Array, map: LatentMap): Promise<Float32Array> {
  const values = engine.tidy(() => map.energy!(tensor(engine, rows, [rows.length / map.latent, map.latent])));
  try {
    return await values.readFloats();
  } finally {
    values.dispose();
  }
}

/** Keeps the energies of every so many rows. */
class EnergySample {
  readonly #stride: number;
  readonly #kept: EnergyDrift;
  #row = 0;

  constructor(rows: number) {
    this.#stride = Math.ceil(rows / ENERGY_ROWS);
    const kept = Math.ceil(rows / this.#stride);
    this.#kept = {
      previous: new Float32Array(kept),
      current: new Float32Array(kept),
      aligned: new Float32Array(kept),
    };
  }

  /** Energies of the next n rows: [n], and [n, 2] before and after. */
  add(previous: Float32Array, both: Float32Array): void {
    const stride = this.#stride;
    const row = this.#row;
    for (let i = Math.ceil(row / stride) * stride; i < row + previous.length; i += stride) {
      this.#kept.previous[i / stride] = previous[i - row]!;
      this.#kept.current[i / stride] = both[2 * (i - row)]!;
      this.#kept.aligned[i / stride] = both[2 * (i - row) + 1]!;
    }
    this.#row += previous.length;
  }

  report(): Required<Pick<MeasuredDrift, 'energies' | 'auroc'>> {
    const { previous, current, aligned } = this.#kept;
    return {
      energies: this.#kept,
      auroc: {
        rows: previous.length,
        before: energyAuroc(previous, current),
        after: energyAuroc(previous, aligned),
      },
    };
  }
}
