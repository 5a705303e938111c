import { Bench } from 'tinybench';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Prepared, Workload } from './workload.ts';

/** One row of a benchmark; times in milliseconds of doing it once. */
export interface BenchRow {
  readonly name: string;
  readonly unit: string;
  readonly median: number;
  /** Quartiles. */
  readonly low: number;
  readonly high: number;
  readonly samples: number;
  /** Until the first run was done: pipelines are compiled in it, unless another row had them compiled. */
  readonly first: number;
  /** Time on the GPU by timestamp queries, where the adapter has them and the workload is a program. */
  readonly gpu?: number;
  readonly dispatches?: number;
  /** The kernel with the most GPU time, with its variant and tile. */
  readonly kernel?: string;
  /** Time against the first of the rows that were timed together with this one. */
  readonly ratio?: number;
  /** 10⁹ floating-point operations, and bytes, a second. */
  readonly gflops?: number;
  readonly gbs?: number;
}

export interface MeasureOptions {
  /** How long each row is timed, in milliseconds. Default 1,000. */
  readonly time?: number;
}

/** A sample takes at least this long, in milliseconds: what is waited for does not count much then. */
const SAMPLE = 20;

/** Times a workload. @throws EliError whatever it throws. */
export async function measure(
  engine: Engine,
  workload: Workload,
  options: MeasureOptions = {},
): Promise<BenchRow> {
  const { time = 1000 } = options;
  const start = performance.now();
  const prepared = await workload.prepare(engine);
  try {
    const first = await firstRun(engine, prepared, start);
    const times = prepared.times ?? (await timesOf(engine, prepared));
    const bench = new Bench({ time, warmup: false, iterations: 3 });
    bench.add(workload.name, () => once(engine, prepared, times));
    const [task] = await bench.run();
    const result = task!.result;
    if (!('latency' in result)) {
      throw new EliError('VALIDATION', `${workload.name} could not be timed`, {
        cause: 'error' in result ? result.error : undefined,
      });
    }
    const { p50, p25, p75, samplesCount } = result.latency as typeof result.latency & { p25?: number };
    return await rowOf(engine, workload, prepared, {
      median: p50 / times,
      low: (p25 ?? result.latency.min) / times,
      high: p75 / times,
      samples: samplesCount,
      first,
    });
  } finally {
    prepared.dispose();
  }
}

/** Does it `times` times and waits for it. */
export async function once(engine: Engine, prepared: Prepared, times: number): Promise<void> {
  await prepared.run(times);
  await engine.sync();
}

/** Does it for the first time, and checks it: milliseconds since `start`, when its preparation began. */
export async function firstRun(engine: Engine, prepared: Prepared, start: number): Promise<number> {
  await once(engine, prepared, prepared.times ?? 1);
  const first = performance.now() - start;
  await prepared.check?.();
  return first;
}

/** A row from its times: what it reaches in them, and where the time goes. */
export async function rowOf(
  engine: Engine,
  { name, unit = 'runs' }: Workload,
  prepared: Prepared,
  times: Pick<BenchRow, 'median' | 'low' | 'high' | 'samples' | 'first' | 'ratio'>,
): Promise<BenchRow> {
  const { flops, bytes } = prepared;
  return {
    name,
    unit,
    ...times,
    ...(await gpuTime(engine, prepared)),
    ...(flops ? { gflops: flops / times.median / 1e6 } : {}),
    ...(bytes ? { gbs: bytes / times.median / 1e6 } : {}),
  };
}

/** How often it is done in a sample. */
export async function timesOf(engine: Engine, prepared: Prepared): Promise<number> {
  for (let times = 1; ; times *= 2) {
    const start = performance.now();
    await once(engine, prepared, times);
    const took = performance.now() - start;
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
