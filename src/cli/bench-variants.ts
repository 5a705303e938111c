import {
  addToTuning,
  type ClassTimings,
  type Launched,
  launchesOf,
  timeVariants,
  type VariantTiming,
} from '../bench/autotune.ts';
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

/** `eli bench --variants`: every variant of the kernels that the workloads launch, side by side. */
export async function benchVariants(
  engine: Engine,
  workloads: readonly Workload[],
  { time, json, tuning }: Flags,
): Promise<void> {
  const launched = new Map<string, Launched>();
  for (const workload of workloads) {
    const found = await launchesOf(async () => (await workload.prepare(engine)).dispose());
    for (const one of found) if (!launched.has(one.key)) launched.set(one.key, one);
  }
  if (launched.size === 0) {
    throw new EliError('ARGUMENT', 'none of these rows launches a kernel that has variants', {
      hint: 'matmul, linear and the convolutions have, and all that is made of them',
    });
  }
  const bar = createProgress()('variants', launched.size, 'classes');
  let timings: ClassTimings[];
  try {
    timings = await timeVariants(engine, [...launched.values()], {
      time,
      onProgress: (done, _, what) => bar.update(done, what),
    });
    bar.update(launched.size);
  } finally {
    bar.done();
  }
  const { name: adapter, driver } = engine.adapter;
  process.stdout.write(`${adapter}, ${driver}\n`);
  for (const one of timings) process.stdout.write(`\n${one.key}\n${await tableOf(one)}\n`);
  process.stdout.write(
    'rule: what is taken without measurements; best: the fastest that is right, where it beats the rule by 3 %\n',
  );
  if (json !== undefined) await writeJson(json, { adapter, driver, classes: timings });
  if (tuning !== undefined) await addToTuning(engine, tuning, timings);
}

async function tableOf({ variants, flops, rule, best }: ClassTimings): Promise<string> {
  const ruled = variants.find(({ name }) => name === rule)?.milliseconds ?? Number.NaN;
  const scaled = (ms: number | undefined, show: (ms: number) => string): string | undefined =>
    ms === undefined ? undefined : show(ms);
  const columns: Column<VariantTiming>[] = [
    { head: 'variant', align: 'left', cell: ({ name }) => name },
    { head: 'ms', cell: ({ milliseconds }) => milliseconds?.toPrecision(3) },
    {
      head: 'GFLOP/s',
      cell: ({ milliseconds }) => scaled(milliseconds, (ms) => (flops / ms / 1e6).toPrecision(3)),
    },
    { head: '× rule', cell: ({ milliseconds }) => scaled(milliseconds, (ms) => (ms / ruled).toFixed(2)) },
    {
      head: '',
      align: 'left',
      cell: ({ name, refused }) =>
        refused?.split('\n')[0] ??
        [name === rule ? 'rule' : '', name === best ? 'best' : ''].filter(Boolean).join(', '),
    },
  ];
  const byTime = (a: VariantTiming, b: VariantTiming): number =>
    (a.milliseconds ?? Number.POSITIVE_INFINITY) - (b.milliseconds ?? Number.POSITIVE_INFINITY);
  return renderTable(columns, [...variants].sort(byTime));
}
