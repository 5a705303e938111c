import { join } from 'node:path';
import { type BeforeAfter, type Drift, DriftMeter, type DriftReport, energyAuroc } from '../eli/drift.ts';
import { ahead } from '../files/ahead.ts';
import { fileError, makeFolder } from '../files/files.ts';
import { histogramSpec } from '../report/histogram.ts';
import { writeJson } from '../report/json.ts';
import { savePicture } from '../report/picture.ts';
import { createProgress } from '../report/progress.ts';
import { type Column, renderTable } from '../report/table.ts';
import { tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { alignBatches } from './align-apply.ts';
import { loadMap } from './align-map.ts';
import { alignSession, checkDim, checkPairs, rowsPerBatch } from './align-session.ts';
import { refuseExisting } from './flags.ts';

export interface ReportFlags {
  prev: string;
  current: string;
  aligner: string;
  out: string;
  adapter?: string;
  force?: boolean;
}

/** Rows whose energies are compared and drawn, evenly spread: a rank needs all of them in memory. */
const ENERGY_ROWS = 100_000;
/** Dimensions in the table; the JSON file has all. */
const SHOWN = 10;

/** Energies of the same rows, one number a row. */
interface Energies {
  readonly previous: Float32Array;
  readonly current: Float32Array;
  readonly aligned: Float32Array;
}

/** `eli align report`: measures drift before and after alignment, prints a table, writes `drift.json` and a picture. */
export async function reportCommand(flags: ReportFlags): Promise<void> {
  const json = join(flags.out, 'drift.json');
  await refuseExisting(json, flags.force);
  const paths = { previous: flags.prev, current: flags.current };
  await alignSession(paths, flags.adapter, async (session, { previous, current }) => {
    checkPairs(previous, current);
    const map = await loadMap(session.engine, flags.aligner);
    checkDim(current, map.latent, flags.aligner);
    const { rows, dim } = current;
    const { energy } = map;
    const stride = Math.ceil(rows / ENERGY_ROWS);
    const kept = Math.ceil(rows / stride);
    const energies: Energies = {
      previous: new Float32Array(kept),
      current: new Float32Array(kept),
      aligned: new Float32Array(kept),
    };
    const meter = new DriftMeter(dim);
    const bar = createProgress()('measure', rows, 'rows');
    const reference = ahead(previous.batches(rowsPerBatch(dim)));
    let row = 0;
    try {
      const batches = alignBatches(session, current, map, energy === undefined ? {} : { energy });
      for await (const batch of ahead(batches)) {
        // Both files have the same rows, so both sequences have the same batches.
        const before: Float32Array = (await reference.next()).value;
        meter.add(before, batch.current, batch.aligned);
        const n = before.length / dim;
        if (energy !== undefined) {
          const known = await readEnergy(tensor(session.engine, before, [n, dim]), energy);
          for (let i = Math.ceil(row / stride) * stride; i < row + n; i += stride) {
            energies.previous[i / stride] = known[i - row]!;
            energies.current[i / stride] = batch.energies![2 * (i - row)]!;
            energies.aligned[i / stride] = batch.energies![2 * (i - row) + 1]!;
          }
        }
        row += n;
        bar.update(row);
      }
    } finally {
      bar.done();
      await reference.return(undefined);
    }
    session.check();
    const drift = meter.report();
    const auroc =
      energy === undefined
        ? undefined
        : {
            rows: kept,
            before: energyAuroc(energies.previous, energies.current),
            after: energyAuroc(energies.previous, energies.aligned),
          };
    await makeFolder(flags.out).catch((cause) => {
      throw fileError('make', flags.out, cause);
    });
    const files = { previous: previous.name, current: current.name, aligner: flags.aligner };
    await writeJson(json, { files, ...drift, ...(auroc && { auroc }) });
    process.stdout.write(`${await driftTable(drift)}\n`);
    process.stdout.write(
      'shift: mean difference to the previous model; distance and cosine: to the previous model\n',
    );
    if (auroc !== undefined) {
      const { before, after } = auroc;
      process.stdout.write(
        `AUROC of the energy, previous model's latents against these: ${before.toFixed(3)} before, ${after.toFixed(3)} after (0.5: no difference)\n`,
      );
      const spec = histogramSpec(energies, {
        title: 'Energies of latents before and after alignment',
        samples: 'latents',
        subtitle: `${kept === rows ? '' : `${kept.toLocaleString('en')} of `}${rows.toLocaleString('en')} latents [${dim}]; dashes mark the means`,
      });
      await savePicture(join(flags.out, 'energies'), spec);
    }
    process.stdout.write(`report: ${flags.out}\n`);
  });
}

/** Energies of `latents`, which are given up. */
async function readEnergy(latents: Tensor, energy: (latents: Tensor) => Tensor): Promise<Float32Array> {
  const values = energy(latents);
  try {
    return await values.readFloats();
  } finally {
    latents.dispose();
    values.dispose();
  }
}

/** The overall drift and the dimensions that drifted most. */
async function driftTable({ overall, dimensions }: DriftReport): Promise<string> {
  interface Row {
    readonly name: string;
    readonly drift: BeforeAfter;
  }
  const worst = dimensions
    .map((drift, j): Row => ({ name: `dimension ${j}`, drift }))
    .sort((a, b) => b.drift.before.euclidean - a.drift.before.euclidean)
    .slice(0, SHOWN);
  const columns: Column<Row>[] = [{ head: '', align: 'left', cell: (row) => row.name }];
  const heads = { meanShift: 'mean shift', euclidean: 'distance', cosine: 'cosine' } as const;
  for (const key of Object.keys(heads) as (keyof Drift)[]) {
    for (const side of ['before', 'after'] as const) {
      columns.push({ head: `${heads[key]}, ${side}`, cell: ({ drift }) => drift[side][key].toFixed(3) });
    }
  }
  return renderTable(columns, [{ name: 'all dimensions', drift: overall }, ...worst]);
}
