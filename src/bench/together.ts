import type { Engine } from '../gpu/engine.ts';
import { type BenchRow, firstRun, type MeasureOptions, once, rowOf, timesOf } from './measure.ts';
import type { Prepared, Workload } from './workload.ts';

/** Rounds at least, however long one takes: quartiles of fewer say little. */
const ROUNDS = 5;

/**
 * Times workloads in turn, a sample of each a round and the order turned round by round, so that whatever else the
 * machine does falls on all of them alike. `ratio` of each row is the median over rounds of its time against the first
 * workload's in the same round.
 * @returns a row for each workload, in their order; `options.time` is for each of them
 * @throws EliError whatever a workload throws
 */
export async function measureTogether(
  engine: Engine,
  workloads: readonly Workload[],
  options: MeasureOptions = {},
): Promise<BenchRow[]> {
  const { time = 1000 } = options;
  const runs: { workload: Workload; prepared: Prepared; first: number; times: number; samples: number[] }[] =
    [];
  try {
    for (const workload of workloads) {
      const start = performance.now();
      const prepared = await workload.prepare(engine);
      const run = { workload, prepared, first: 0, times: prepared.times ?? 1, samples: [] };
      runs.push(run);
      run.first = await firstRun(engine, prepared, start);
    }
    for (const run of runs) run.times = run.prepared.times ?? (await timesOf(engine, run.prepared));
    const end = performance.now() + time * runs.length;
    for (let round = 0; round < ROUNDS || performance.now() < end; round++) {
      for (let i = 0; i < runs.length; i++) {
        const { prepared, times, samples } = runs[(i + round) % runs.length]!;
        const start = performance.now();
        await once(engine, prepared, times);
        samples.push((performance.now() - start) / times);
      }
    }
    const rows: BenchRow[] = [];
    for (const { workload, prepared, first, samples } of runs) {
      const ratios = samples.map((ms, i) => ms / runs[0]!.samples[i]!);
      const row = await rowOf(engine, workload, prepared, {
        median: quantile(samples, 0.5),
        low: quantile(samples, 0.25),
        high: quantile(samples, 0.75),
        samples: samples.length,
        first,
        ...(rows.length > 0 && { ratio: quantile(ratios, 0.5) }),
      });
      rows.push(row);
    }
    return rows;
  } finally {
    for (const { prepared } of runs) prepared.dispose();
  }
}

/** Linear between the two nearest of `values`. */
export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const at = q * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (at - Math.floor(at)) * (high - low);
}

/** Workloads that are timed together lie in one list; the others in lists of their own. */
export function inGroups(workloads: readonly Workload[]): Workload[][] {
  const groups = new Map<string, Workload[]>();
  for (const workload of workloads) {
    const key = workload.together === undefined ? `row ${workload.name}` : `group ${workload.together}`;
    groups.set(key, [...(groups.get(key) ?? []), workload]);
  }
  return [...groups.values()];
}
