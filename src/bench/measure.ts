import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { notInstalled } from '../optional.ts';
import { quantileOf } from '../report/stats.ts';
import type { Prepared, Workload } from './workload.ts';

/** One row of a benchmark; times are milliseconds per run. */
export interface BenchRow {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  /** Quartiles. */
  readonly low: number;
  readonly high: number;
  readonly samples: number;
  /** Preparation and the first run, in which pipelines are compiled unless an earlier row has compiled them. */
  readonly first: number;
  /** GPU time by timestamp queries, where the adapter has them and the workload is a program. */
  readonly gpu?: number;
  readonly dispatches?: number;
  /** The kernel with the most GPU time, with its variant and tile. */
  readonly kernel?: string;
  /** Time relative to the first of the rows that were timed together with this one. */
  readonly ratio?: number;
  /** 10⁹ floating-point operations, and bytes, per second. */
  readonly gflops?: number;
  readonly gbs?: number;
  /** What depends on the order in which invocations run, where something does. */
  readonly race?: string;
}

/** A workload that was left out, because it does not compile or its results are wrong. */
export interface FailedRow {
  readonly name: string;
  readonly error: EliError;
}

/** A sample takes about this long, in milliseconds, so that waiting for the device hardly counts. */
const SAMPLE = 20;
/** Fewest rounds, however long one takes: quartiles of fewer say little. */
const ROUNDS = 5;

/** A workload under way: `samples` are milliseconds per run, each the mean over `times` runs. */
interface Timing {
  readonly workload: Workload;
  readonly prepared: Prepared;
  readonly samples: number[];
  first: number;
  times: number;
  race?: string | undefined;
}

/** How workloads are timed. */
export interface MeasureOptions {
  /** How long each workload is timed, in milliseconds. Default 1000. */
  readonly time?: number | undefined;
  /** Whether kernels are run in other orders too. Default false. */
  readonly races?: boolean;
  /** Gets the workloads that fail before they are timed, which are then left out. Without it, their errors are thrown. */
  readonly failed?: (row: FailedRow) => void;
}

/**
 * Times a workload, or several in turn, one sample of each per round and in an order that rotates, so that a disturbance
 * affects all of them alike. The `ratio` of a row is the median over the rounds of its time relative to the first
 * workload's in the same round.
 * @returns a row for each workload, in their order
 * @throws EliError whatever a workload throws, `DEVICE_LOST` in any case
 */
export async function measure(
  engine: Engine,
  workloads: readonly Workload[],
  { time = 1000, races = false, failed }: MeasureOptions = {},
): Promise<BenchRow[]> {
  const timings: Timing[] = [];
  try {
    for (const workload of workloads) {
      try {
        timings.push(await begin(engine, workload, races));
      } catch (error) {
        if (failed === undefined || !(error instanceof EliError) || error.code === 'DEVICE_LOST') throw error;
        failed({ name: workload.name, error });
      }
    }
    for (const timing of timings) timing.times = timing.prepared.times ?? (await timesOf(engine, timing));
    await takeSamples(engine, timings, time);
    const rows: BenchRow[] = [];
    for (const timing of timings) rows.push(await rowOf(engine, timing, timings[0]!));
    return rows;
  } finally {
    for (const { prepared } of timings) prepared.dispose();
  }
}

/** Runs a workload for the first time and checks its results. */
async function begin(engine: Engine, workload: Workload, races: boolean): Promise<Timing> {
  const start = performance.now();
  const prepared = await workload.prepare(engine);
  const timing: Timing = { workload, prepared, samples: [], first: 0, times: prepared.times ?? 1 };
  try {
    await sampleOf(engine, timing);
    timing.first = performance.now() - start;
    await prepared.check?.();
    if (races) timing.race = await prepared.race?.();
    return timing;
  } catch (error) {
    prepared.dispose();
    throw error;
  }
}

async function takeSamples(engine: Engine, timings: readonly Timing[], time: number): Promise<void> {
  if (timings.length === 0) return;
  const sample = async (timing: Timing): Promise<void> => {
    timing.samples.push(await sampleOf(engine, timing));
  };
  if (timings.length === 1) {
    const { Bench } = await import('tinybench').catch(notInstalled('benchmarks'));
    const bench = new Bench({ time, warmup: false, iterations: 3, throws: true });
    await bench.add('alone', () => sample(timings[0]!)).run();
    return;
  }
  const end = performance.now() + time * timings.length;
  for (let round = 0; round < ROUNDS || performance.now() < end; round++) {
    for (let i = 0; i < timings.length; i++) await sample(timings[(i + round) % timings.length]!);
  }
}

/** Runs it `times` times and waits for the device: milliseconds per run. */
async function sampleOf(engine: Engine, { prepared, times }: Timing): Promise<number> {
  const start = performance.now();
  await prepared.run(times);
  await engine.sync();
  return (performance.now() - start) / times;
}

/** A row from the samples: rates, and where the GPU time goes. */
async function rowOf(
  engine: Engine,
  { workload, prepared, samples, first, race }: Timing,
  reference: Timing,
): Promise<BenchRow> {
  const { flops, bytes } = prepared;
  const median = quantileOf(samples, 0.5);
  const ratios = samples.map((ms, i) => ms / reference.samples[i]!);
  return {
    name: workload.name,
    unit: workload.unit ?? 'runs',
    median,
    low: quantileOf(samples, 0.25),
    high: quantileOf(samples, 0.75),
    samples: samples.length,
    first,
    ...(samples !== reference.samples && { ratio: quantileOf(ratios, 0.5) }),
    ...(await gpuTime(engine, prepared)),
    ...(flops && { gflops: flops / median / 1e6 }),
    ...(bytes && { gbs: bytes / median / 1e6 }),
    ...(race !== undefined && { race }),
  };
}

/** Runs per sample. */
async function timesOf(engine: Engine, timing: Timing): Promise<number> {
  for (let times = 1; ; times *= 2) {
    const took = times * (await sampleOf(engine, { ...timing, times }));
    if (took >= SAMPLE / 2 || times >= 1 << 16) return Math.max(1, Math.ceil((times * SAMPLE) / took));
  }
}

/** One run with timestamps, where the adapter has them. */
async function gpuTime(
  engine: Engine,
  prepared: Prepared,
): Promise<Pick<BenchRow, 'gpu' | 'dispatches' | 'kernel'>> {
  if (!engine.has('timestamp-query') || prepared.times !== undefined) return {};
  const kernels = await engine.profile(() => prepared.run(1));
  const dispatches = kernels.reduce((total, kernel) => total + kernel.dispatches, 0);
  if (dispatches === 0) return {};
  return {
    gpu: kernels.reduce((total, kernel) => total + kernel.milliseconds, 0),
    dispatches,
    kernel: kernels[0]!.kernel,
  };
}
