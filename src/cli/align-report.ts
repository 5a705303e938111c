import { join } from 'node:path';
import type { Drift, DriftReport } from '../eli/drift.ts';
import { loadMap } from '../eli/maps/load.ts';
import { type MeasuredDrift, measureDrift } from '../eli/measure.ts';
import { makeFolder, system } from '../files/files.ts';
import { histogramSpec } from '../report/histogram.ts';
import { writeJson } from '../report/json.ts';
import { savePicture } from '../report/picture.ts';
import { type Column, renderTable } from '../report/table.ts';
import { type AlignFlags, alignSession } from './align-session.ts';
import { checkOutput } from './flags.ts';

export interface ReportFlags extends AlignFlags {
  prev: string;
  current: string;
  aligner: string;
}

/** Number of dimensions in the table; the JSON file has all. */
const SHOWN = 10;

/** `eli align report`: measures drift before and after alignment, prints a table, writes `drift.json` and a picture. */
export async function reportCommand(flags: ReportFlags): Promise<void> {
  const json = join(flags.out, 'drift.json');
  await checkOutput(json, { ...flags, makesFolder: true });
  const paths = { previous: flags.prev, current: flags.current };
  await alignSession(paths, flags, async ({ engine, withBar }, { previous, current }) => {
    const map = await loadMap(engine, flags.aligner);
    const measured = await withBar('measure', current.rows, 'rows', (hooks) =>
      measureDrift(engine, previous, current, map, hooks),
    );
    const { drift, auroc } = measured;
    await system('make', flags.out, () => makeFolder(flags.out));
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

/** Prints how well energies separate the models and draws them, for a map that has an energy. */
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

/** Heads of the columns, and which are left out first in a narrow terminal. */
const COLUMNS = {
  meanShift: { name: 'mean shift', rank: 2 },
  euclidean: { name: 'distance', rank: undefined },
  cosine: { name: 'cosine', rank: 1 },
} as const;

/** A table of the overall drift and of the dimensions that drifted most. */
function driftTable({ overall, dimensions }: DriftReport): Promise<string> {
  const worst = dimensions
    .map((drift, j) => ({ name: `dimension ${j}`, drift }))
    .sort((a, b) => b.drift.before.euclidean - a.drift.before.euclidean)
    .slice(0, SHOWN);
  const rows = [{ name: 'all dimensions', drift: overall }, ...worst];
  const columns: Column<(typeof rows)[number]>[] = [{ head: '', align: 'left', cell: (row) => row.name }];
  for (const key of Object.keys(COLUMNS) as (keyof Drift)[]) {
    const { name, rank } = COLUMNS[key];
    for (const side of ['before', 'after'] as const) {
      const cell: Column<(typeof rows)[number]>['cell'] = ({ drift }) => drift[side][key].toFixed(3);
      columns.push({ head: `${name}, ${side}`, cell, ...(rank && { rank }) });
    }
  }
  return renderTable(columns, rows);
}
