import { join } from 'node:path';
import type { BeforeAfter, Drift, DriftReport } from '../eli/drift.ts';
import { loadMap } from '../eli/maps/load.ts';
import { type MeasuredDrift, measureDrift } from '../eli/measure.ts';
import { fileError, makeFolder } from '../files/files.ts';
import { histogramSpec } from '../report/histogram.ts';
import { writeJson } from '../report/json.ts';
import { savePicture } from '../report/picture.ts';
import { type Column, renderTable } from '../report/table.ts';
import { type AlignFlags, alignSession } from './align-session.ts';
import { refuseExisting } from './flags.ts';

export interface ReportFlags extends AlignFlags {
  prev: string;
  current: string;
  aligner: string;
}

/** Dimensions in the table; the JSON file has all. */
const SHOWN = 10;

/** `eli align report`: measures drift before and after alignment, prints a table, writes `drift.json` and a picture. */
export async function reportCommand(flags: ReportFlags): Promise<void> {
  const json = join(flags.out, 'drift.json');
  refuseExisting(json, flags.force);
  const paths = { previous: flags.prev, current: flags.current };
  await alignSession(paths, flags, async ({ engine, withBar }, { previous, current }) => {
    const map = await loadMap(engine, flags.aligner);
    const measured = await withBar('measure', current.rows, 'rows', (hooks) =>
      measureDrift(engine, previous, current, map, hooks),
    );
    const { drift, auroc } = measured;
    await makeFolder(flags.out).catch((cause) => {
      throw fileError('make', flags.out, cause);
    });
    const files = { previous: previous.name, current: current.name, aligner: flags.aligner };
    await writeJson(json, { files, ...drift, ...(auroc && { auroc }) });
    process.stdout.write(`${await driftTable(drift)}\n`);
    process.stdout.write(
      'shift: mean difference to the previous model; distance and cosine: to the previous model\n',
    );
    await reportEnergies(flags.out, measured);
    process.stdout.write(`report: ${flags.out}\n`);
  });
}

/** Prints how well energies tell the models apart and draws them, for a map that has an energy. */
async function reportEnergies(folder: string, { drift, energies, auroc }: MeasuredDrift): Promise<void> {
  if (energies === undefined || auroc === undefined) return;
  process.stdout.write(
    `AUROC of the energy, previous model's latents against these: ${auroc.before.toFixed(3)} before, ${auroc.after.toFixed(3)} after (0.5: no difference)\n`,
  );
  const { rows, dim } = drift;
  const spec = histogramSpec(energies, {
    title: 'Energies of latents before and after alignment',
    samples: 'latents',
    subtitle: `${auroc.rows === rows ? '' : `${auroc.rows.toLocaleString('en')} of `}${rows.toLocaleString('en')} latents [${dim}]; dashes mark the means`,
  });
  await savePicture(join(folder, 'energies'), spec);
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
