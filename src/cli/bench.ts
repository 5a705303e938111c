import type { Command } from 'commander';
import { loadTuning } from '../bench/autotune.ts';
import { type BenchRow, measure } from '../bench/measure.ts';
import { NAMED_WORKLOADS } from '../bench/named-workloads.ts';
import { registryWorkloads } from '../bench/op-workloads.ts';
import { measureRoofline, type Roofline } from '../bench/roofline.ts';
import { type ShaderSpec, shaderWorkloads } from '../bench/shader.ts';
import type { Workload } from '../bench/workload.ts';
import { brief, EliError, isRecord } from '../errors.ts';
import { readFileBytes } from '../files/files.ts';
import { Engine } from '../gpu/engine.ts';
import '../ops/all.ts';
import { writeJson } from '../report/json.ts';
import { savePicture } from '../report/picture.ts';
import { createProgress } from '../report/progress.ts';
import { rooflineSpec } from '../report/roofline.ts';
import { type Column, renderTable } from '../report/table.ts';
import { addShaderFlags } from './bench-shader.ts';
import { benchVariants } from './bench-variants.ts';
import { numberOf } from './flags.ts';

interface Flags {
  time: number;
  json?: string;
  compare?: string;
  picture?: string;
  adapter?: string;
  variants?: boolean;
  tuning?: string;
}

export function addBench(program: Command): void {
  const command = program
    .command('bench')
    .argument(
      '[filter]',
      'part of the names of the rows to measure (in any case), such as "op: matmul" or "aligner"',
    )
    .description(
      'time every op and typical workloads: medians, GPU time, share of the peak rates of the adapter',
    )
    .option('--time <ms>', 'how long each row is timed', numberOf, 1000)
    .option('--json <file>', 'write the figures to this file')
    .option('--compare <file>', 'show changes beyond the noise since this --json file')
    .option('--picture <name>', 'draw the roofline into <name>.svg and <name>.png')
    .option('--variants', 'time and check every variant of the kernels that the rows launch instead')
    .option('--tuning <file>', 'use the variants of this file; with --variants, write the fastest to it')
    .option('--adapter <name>', 'part of the name of the adapter to use');
  const shaders = addShaderFlags(command);
  command.action((filter: string | undefined, flags: Flags) => bench(filter, flags, shaders));
}

async function bench(
  filter: string | undefined,
  flags: Flags,
  shaders: readonly ShaderSpec[],
): Promise<void> {
  checkFlags(filter, flags, shaders.length > 0);
  const before = flags.compare === undefined ? undefined : await readBench(flags.compare);
  const known = [...NAMED_WORKLOADS, ...registryWorkloads()].filter(({ name }) =>
    name.toLowerCase().includes((filter ?? '').toLowerCase()),
  );
  if (known.length === 0) {
    throw new EliError('ARGUMENT', `no row has "${filter}" in its name`, {
      hint: 'names begin with op:, conv:, training:, optimizer:, sampler:, aligner:, overhead:',
    });
  }
  const engine = await Engine.create(flags.adapter === undefined ? {} : { adapter: flags.adapter });
  try {
    if (flags.variants) return await benchVariants(engine, known, flags);
    if (flags.tuning !== undefined) await loadTuning(engine, flags.tuning);
    const workloads = shaders.length > 0 ? await shaderWorkloads(engine, shaders) : known;
    const { name: adapter, driver } = engine.adapter;
    const roofline = await measureRoofline(engine, flags.time);
    process.stdout.write(
      `${adapter}, ${driver}\nroofline: ${roofline.gflops.toFixed(0)} GFLOP/s, ${roofline.gbs.toFixed(1)} GB/s\n`,
    );
    const bar = createProgress()('bench', workloads.length, 'rows');
    const rows: BenchRow[] = [];
    try {
      for (const group of inGroups(workloads)) {
        bar.update(rows.length, group[0]!.name);
        rows.push(...(await measure(engine, group, flags.time)));
      }
      bar.update(rows.length);
    } finally {
      bar.done();
    }
    process.stdout.write(`${await renderTable(columns(roofline, before), rows)}\n`);
    process.stdout.write('share: of the nearer roof, GFLOP/s or GB/s; first: includes compilation, if any\n');
    if (flags.json !== undefined) await writeJson(flags.json, { adapter, driver, roofline, rows });
    if (flags.picture !== undefined) await draw(flags.picture, rows, roofline, adapter);
  } finally {
    engine.dispose();
  }
}

/** Workloads to time in turn, by their `together`; each of the others alone. */
function inGroups(workloads: readonly Workload[]): Iterable<Workload[]> {
  const groups = new Map<string, Workload[]>();
  for (const workload of workloads) {
    const key = workload.together ?? workload.name;
    groups.set(key, [...(groups.get(key) ?? []), workload]);
  }
  return groups.values();
}

/** @throws EliError `ARGUMENT` for a combination of flags of which one would be ignored. */
function checkFlags(filter: string | undefined, flags: Flags, shaders: boolean): void {
  const wrong =
    (shaders && filter !== undefined && `a filter ("${filter}") cannot be combined with --shader`) ||
    (shaders && flags.variants && '--variants cannot be combined with --shader') ||
    (flags.variants && flags.compare !== undefined && '--compare cannot be combined with --variants') ||
    (flags.variants && flags.picture !== undefined && '--picture cannot be combined with --variants');
  if (wrong) throw new EliError('ARGUMENT', wrong, { hint: 'leave one of them out' });
  if (!(flags.time > 0)) throw new EliError('ARGUMENT', `--time is ${flags.time}, must be above 0`);
}

function columns(roof: Roofline, before: ReadonlyMap<string, BenchRow> | undefined): Column<BenchRow>[] {
  const fixed = (value: number | undefined): string | undefined => value?.toPrecision(3);
  const share = ({ gflops = 0, gbs = 0 }: BenchRow): string | undefined => {
    const nearer = Math.max(gflops / roof.gflops, gbs / roof.gbs);
    return nearer > 0 ? `${(100 * nearer).toFixed(0)} %` : undefined;
  };
  return [
    { head: 'row', align: 'left', cell: (row) => row.name },
    { head: 'ms', cell: (row) => fixed(row.median) },
    { head: 'quartiles', rank: 5, cell: (row) => `${fixed(row.low)}–${fixed(row.high)}` },
    {
      head: 'of first',
      rank: 1,
      cell: ({ ratio }) => (ratio === undefined ? undefined : `× ${ratio.toFixed(2)}`),
    },
    { head: 'GPU ms', rank: 4, cell: (row) => fixed(row.gpu) },
    { head: 'dispatches', rank: 8, cell: (row) => row.dispatches?.toString() },
    { head: 'GFLOP/s', rank: 3, cell: (row) => fixed(row.gflops) },
    { head: 'GB/s', rank: 3, cell: (row) => fixed(row.gbs) },
    { head: 'share', rank: 2, cell: share },
    { head: 'a second', rank: 6, cell: (row) => `${(1000 / row.median).toPrecision(3)} ${row.unit}` },
    { head: 'first ms', rank: 7, cell: (row) => row.first.toFixed(0) },
    {
      head: 'longest kernel',
      rank: 9,
      align: 'left',
      cell: (row) => row.kernel?.replace(/^.*\/|\.wgsl/g, ''),
    },
    ...(before === undefined
      ? []
      : [{ head: 'before', cell: (row: BenchRow) => changeOf(before.get(row.name), row) }]),
  ];
}

/** How a row compares with an earlier one; the change is noise where the ranges between the quartiles overlap. */
export function changeOf(before: BenchRow | undefined, now: BenchRow): string | undefined {
  if (before === undefined) return undefined;
  const ratio = `× ${(now.median / before.median).toFixed(2)}`;
  if (now.low > before.high) return `${ratio} slower`;
  if (now.high < before.low) return `${ratio} faster`;
  return `${ratio} (noise)`;
}

/** The rows of an earlier `--json` file by name. @throws EliError `FILE` when it cannot be read or has no such rows. */
export async function readBench(path: string): Promise<Map<string, BenchRow>> {
  const text = new TextDecoder().decode(await readFileBytes(path));
  try {
    const file: unknown = JSON.parse(text);
    const rows: unknown = isRecord(file) ? file.rows : undefined;
    if (!Array.isArray(rows)) throw new Error(`its rows are ${brief(rows)}`);
    for (const [i, row] of rows.entries()) {
      const { name, low, median, high } = (isRecord(row) ? row : {}) as Record<string, unknown>;
      if (typeof name !== 'string' || ![low, median, high].every(Number.isFinite))
        throw new Error(`row ${i} is ${brief(row)}`);
    }
    return new Map((rows as BenchRow[]).map((row) => [row.name, row]));
  } catch (cause) {
    throw new EliError('FILE', `${path} is not a --json file of eli bench: ${(cause as Error).message}`, {
      hint: 'write one with --json',
      cause,
    });
  }
}

async function draw(base: string, rows: readonly BenchRow[], roof: Roofline, adapter: string): Promise<void> {
  const points = rows.flatMap(({ name, gflops, gbs }) =>
    gflops && gbs ? [{ name: name.replace(/^op: /, ''), gflops, gbs }] : [],
  );
  await savePicture(base, rooflineSpec(points, roof, adapter));
}
