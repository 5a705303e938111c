import {
  type ClassTimings,
  fastestOf,
  launchesOf,
  timeVariants,
  type VariantTiming,
} from '../bench/autotune.ts';
import { addToTuning } from '../bench/tuning-file.ts';
import type { Workload } from '../bench/workload.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { writeJson } from '../report/json.ts';
import { createProgress } from '../report/progress.ts';
import { type Column, renderTable } from '../report/table.ts';

interface Flags {
  readonly time: number;
  readonly json?: string;
  readonly tuning?: string;
}

/** `eli bench --variants`: times every variant of the kernels that the workloads launch. */
export async function benchVariants(
  engine: Engine,
  workloads: readonly Workload[],
  { time, json, tuning }: Flags,
): Promise<void> {
  const launched = await launchesOf(async () => {
    for (const workload of workloads) (await workload.prepare(engine)).dispose();
  });
  if (launched.length === 0) {
    throw new EliError('ARGUMENT', 'none of these rows launches a kernel that has variants', {
      hint: 'matmul, linear and the convolutions have variants, and so has everything built from them',
    });
  }
  const bar = createProgress()('variants', launched.length, 'classes');
  let timings: ClassTimings[];
  try {
    timings = await timeVariants(engine, launched, {
      time,
      onProgress: (done, _, what) => bar.update(done, what),
    });
    bar.update(launched.length);
  } finally {
    bar.done();
  }
  const { name: adapter, driver } = engine.adapter;
  process.stdout.write(`${adapter}, ${driver}\n`);
  for (const one of timings) process.stdout.write(`\n${one.key}\n${await tableOf(one)}\n`);
  process.stdout.write(
    'rule: used without measurements; best: the fastest correct variant, if it beats the rule by 3 %\n',
  );
  if (json !== undefined) await writeJson(json, { adapter, driver, classes: timings });
  if (tuning !== undefined) await addToTuning(tuning, engine.adapter, fastestOf(timings));
}

async function tableOf({ variants, flops, rule, best }: ClassTimings): Promise<string> {
  const ruled = variants.find(({ name }) => name === rule)?.milliseconds ?? Number.NaN;
  const columns: Column<VariantTiming>[] = [
    { head: 'variant', align: 'left', cell: ({ name }) => name },
    { head: 'ms', cell: ({ milliseconds }) => milliseconds?.toPrecision(3) },
    {
      head: 'GFLOP/s',
      rank: 1,
      cell: ({ milliseconds: ms }) => (ms ? (flops / ms / 1e6).toPrecision(3) : undefined),
    },
    { head: '× rule', cell: ({ milliseconds: ms }) => (ms ? (ms / ruled).toFixed(2) : undefined) },
    {
      head: '',
      align: 'left',
      cell: ({ name, refused }) =>
        refused?.split('\n')[0] ??
        [name === rule ? 'rule' : '', name === best ? 'best' : ''].filter(Boolean).join(', '),
    },
  ];
  const time = ({ milliseconds = Number.POSITIVE_INFINITY }: VariantTiming): number => milliseconds;
  return renderTable(
    columns,
    variants.toSorted((a, b) => time(a) - time(b)),
  );
}
