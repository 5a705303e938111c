import type { Engine } from '../gpu/engine.ts';
import { empty, launch1d, zeros } from '../tensor/create.ts';
import { measure } from './measure.ts';
import { captured, type Workload } from './workload.ts';

/** Measured peak rates of an adapter in 10⁹ per second: operations (a multiply-add is two), and bytes read and written. */
export interface Roofline {
  readonly gflops: number;
  readonly gbs: number;
}

const INVOCATIONS = { software: 1 << 12, gpu: 1 << 20 };
const ROUNDS = 256;

const peak: Workload = {
  name: 'roofline: multiply-adds in registers',
  prepare: (engine) => {
    const n = engine.adapter.software ? INVOCATIONS.software : INVOCATIONS.gpu;
    const y = zeros(engine, [n]);
    const run = (): void =>
      engine.run('bench/peak.wgsl', {
        storages: [y.storage],
        overrides: { ROUNDS },
        params: { scale: 0.999, shift: 0.001 },
        groups: [n / 64],
      });
    // 8 numbers, 8 times per round.
    return { ...captured(engine, run, [y]), flops: n * ROUNDS * 8 * 8 * 2 };
  },
};

const stream: Workload = {
  name: 'roofline: copy of 64 MiB',
  prepare: (engine) => {
    const n = 1 << 24;
    const [x, y] = [zeros(engine, [n]), empty(engine, [n])];
    const run = (): void =>
      launch1d(engine, 'bench/stream.wgsl', n / 4, {
        storages: [x.storage, y.storage],
        params: { n: n / 4 },
      });
    return { ...captured(engine, run, [x, y]), bytes: 8 * n };
  },
};

/** Measures both rates; `time` as in `measure`. */
export async function measureRoofline(engine: Engine, time?: number): Promise<Roofline> {
  const [compute] = await measure(engine, [peak], { time });
  const [memory] = await measure(engine, [stream], { time });
  return { gflops: compute!.gflops!, gbs: memory!.gbs! };
}
