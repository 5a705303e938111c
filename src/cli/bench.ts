import { isAbsolute } from 'node:path';
import type { Command } from 'commander';
import { loadTuning } from '../bench/autotune.ts';
import { type BenchRow, type FailedRow, measure } from '../bench/measure.ts';
import { NAMED_WORKLOADS } from '../bench/named-workloads.ts';
import { registryWorkloads } from '../bench/op-workloads.ts';
import { measureRoofline, type Roofline } from '../bench/roofline.ts';
import { type ShaderSpec, shaderWorkloads } from '../bench/shader.ts';
import type { Workload } from '../bench/workload.ts';
import { EliError } from '../errors.ts';
import { checkWritable } from '../files/atomic.ts';
import { Engine } from '../gpu/engine.ts';
import '../ops/all.ts';
import { writeJson } from '../report/json.ts';
import { createProgress, withBar } from '../report/progress.ts';
import type { TableFormat } from '../report/table.ts';
import {
  type Before,
  benchTable,
  drawRoofline,
  type Measured,
  readBench,
  refuseFailed,
  refuseSlower,
} from './bench-report.ts';
import { addShaderFlags } from './bench-shader.ts';
import { benchVariants } from './bench-variants.ts';
import { onSave } from './bench-watch.ts';
import { ADAPTER, numberOf } from './flags.ts';

interface Flags {
  time: number;
  json?: string;
  compare?: string;
  failAbove?: number;
  picture?: string;
  markdown?: boolean;
  csv?: boolean;
  watch?: boolean;
  races: boolean;
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
    .option(
      '--fail-above <ratio>',
      'with --compare: exit with 1 if a row takes so many times as long',
      numberOf,
    )
    .option('--markdown', 'print the table as Markdown, with all columns')
    .option('--csv', 'print every figure as CSV, and nothing else to stdout')
    .option('--picture <name>', 'draw the roofline into <name>.svg and <name>.png')
    .option('--variants', 'time and check every variant of the kernels that the rows launch instead')
    .option('--tuning <file>', 'use the variants of this file; with --variants, write the fastest to it')
    .option(...ADAPTER)
    .option('--watch', 'with --shader: run again whenever a shader or check is saved')
    .option('--no-races', 'with --shader: do not run it in other orders of workgroups and invocations');
  const shaders = addShaderFlags(command);
  command.action((filter: string | undefined, flags: Flags) => bench(filter, flags, shaders));
}

async function bench(
  filter: string | undefined,
  flags: Flags,
  shaders: readonly ShaderSpec[],
): Promise<void> {
  checkFlags(filter, flags, shaders.length > 0);
  for (const path of outputsOf(flags)) await checkWritable(path);
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
    if (before !== undefined && before.adapter !== engine.adapter.name)
      process.stderr.write(
        `${before.path} was measured on ${before.adapter}, not on ${engine.adapter.name}\n`,
      );
    let roofline: Roofline | undefined;
    const round = async (): Promise<void> => {
      const workloads = shaders.length > 0 ? await shaderWorkloads(engine, shaders) : known;
      if (flags.picture !== undefined) checkPicture(workloads, shaders);
      roofline ??= await measureRoofline(engine, flags.time);
      await report(await measureAll(engine, workloads, roofline, flags), before, flags);
    };
    await (flags.watch ? onSave(filesOf(shaders), round) : round());
  } finally {
    engine.dispose();
  }
}

function outputsOf({ json, picture, variants, tuning }: Flags): string[] {
  const pictures = picture === undefined ? [] : [`${picture}.svg`, `${picture}.png`];
  return [json, variants ? tuning : undefined, ...pictures].filter((path) => path !== undefined);
}

/** Times the workloads, those with the same `together` in turn and each of the others alone. */
async function measureAll(
  engine: Engine,
  workloads: readonly Workload[],
  roofline: Roofline,
  { time, races }: Flags,
): Promise<Measured> {
  const groups = new Map<string, Workload[]>();
  for (const workload of workloads) {
    const key = workload.together ?? workload.name;
    groups.set(key, [...(groups.get(key) ?? []), workload]);
  }
  const rows: BenchRow[] = [];
  const failed: FailedRow[] = [];
  await withBar(createProgress()('bench', workloads.length, 'rows'), async (bar) => {
    for (const group of groups.values()) {
      bar.update(rows.length + failed.length, group[0]!.name);
      rows.push(...(await measure(engine, group, { time, races, failed: (row) => failed.push(row) })));
    }
    bar.update(workloads.length);
  });
  const { name: adapter, driver } = engine.adapter;
  return { adapter, driver, roofline, rows, failed };
}

/** Prints and writes what was measured. @throws EliError for rows that failed, or are slower than --fail-above allows */
async function report(measured: Measured, before: Before | undefined, flags: Flags): Promise<void> {
  const { adapter, driver, roofline, rows, failed } = measured;
  const format: TableFormat = flags.csv ? 'csv' : flags.markdown ? 'markdown' : 'terminal';
  const about = format === 'csv' ? process.stderr : process.stdout;
  const gap = format === 'markdown' ? '\n' : '';
  about.write(
    `${adapter}, ${driver}\nroofline: ${roofline.gflops.toFixed(0)} GFLOP/s, ${roofline.gbs.toFixed(1)} GB/s\n${gap}`,
  );
  process.stdout.write(`${await benchTable(measured, before, format)}\n`);
  about.write(`${gap}share: of the nearer roof, GFLOP/s or GB/s; first: includes compilation, if any\n`);
  for (const { race } of rows) if (race !== undefined) process.stderr.write(`${race}\n`);
  if (flags.json !== undefined) {
    const failures = failed.map(({ name, error }) => ({ name, code: error.code, message: error.message }));
    await writeJson(flags.json, {
      ...{ adapter, driver, roofline, rows },
      ...(failures.length > 0 && { failed: failures }),
    });
  }
  if (flags.picture !== undefined) await drawRoofline(flags.picture, measured);
  refuseFailed(measured);
  if (before !== undefined && flags.failAbove !== undefined) refuseSlower(rows, before, flags.failAbove);
}

/** The files of shaders and checks that are the user's. */
const filesOf = (shaders: readonly ShaderSpec[]): string[] =>
  shaders
    .flatMap(({ file, own, shared }) => [file, own.check ?? shared.check])
    .filter((file) => file !== undefined)
    .filter(isAbsolute);

/** @throws EliError `ARGUMENT` if no workload has a place in the picture; says which shaders have none */
function checkPicture(workloads: readonly Workload[], shaders: readonly ShaderSpec[]): void {
  const lacking = shaders.flatMap(({ name, own, shared }) => {
    const missing = (['flops', 'bytes'] as const).filter((key) => !(own[key] ?? shared[key]));
    return missing.length > 0 ? [`${name} has no ${missing.map((key) => `--${key}`).join(' and no ')}`] : [];
  });
  if (!workloads.some(({ rated }) => rated)) {
    const what = lacking.length > 0 ? lacking.join('; ') : 'none of these rows counts operations and bytes';
    throw new EliError('ARGUMENT', `--picture has nothing to draw: ${what}`, {
      hint: 'a point is operations and bytes of one launch: --flops N --bytes N, or a row such as "op: matmul"',
    });
  }
  if (lacking.length > 0) process.stderr.write(`not in the picture: ${lacking.join('; ')}\n`);
}

/** @throws EliError `ARGUMENT` for a combination of flags of which one would be ignored, or a file that cannot be written */
function checkFlags(filter: string | undefined, flags: Flags, shaders: boolean): void {
  const { variants, compare, failAbove, time } = flags;
  const apart = (['compare', 'picture', 'csv', 'markdown'] as const).find((flag) => flags[flag]);
  const wrong =
    (shaders && filter !== undefined && `a filter ("${filter}") cannot be combined with --shader`) ||
    (shaders && variants && '--variants cannot be combined with --shader') ||
    (variants && apart !== undefined && `--${apart} cannot be combined with --variants`) ||
    (flags.csv && flags.markdown && '--csv cannot be combined with --markdown') ||
    (flags.watch && failAbove !== undefined && '--fail-above cannot be combined with --watch');
  if (wrong) throw new EliError('ARGUMENT', wrong, { hint: 'leave one of them out' });
  if (failAbove !== undefined && compare === undefined)
    throw new EliError('ARGUMENT', '--fail-above needs --compare: the file to compare with');
  if (flags.watch && !shaders) throw new EliError('ARGUMENT', '--watch needs --shader: the file to watch');
  if (!(time > 0)) throw new EliError('ARGUMENT', `--time is ${time}, must be above 0`);
  if (failAbove !== undefined && !(failAbove > 0))
    throw new EliError('ARGUMENT', `--fail-above is ${failAbove}, must be above 0`);
}
