// `npm run bench [filter]`: named workloads on this machine's adapter, one row each. A run of a workload submits a
// program captured once and waits for the device.
import { Bench } from 'tinybench';
import {
  BatchOrder,
  crossEntropy,
  EnergyAligner,
  Engine,
  gather,
  grad,
  Initializer,
  Linear,
  logStep,
  matmul,
  randomNormal,
  relu,
  sgd,
  takeBatch,
  tensor,
  zeros,
} from '../src/index.ts';
import { renderTable } from '../src/report/table.ts';

interface Workload {
  readonly name: string;
  /** Times the thing is done in one timed run. */
  readonly repeats: number;
  /** Floating-point operations of doing it once, where they are known. */
  readonly flops?: number;
  readonly unit: string;
  /** Prepares it; the function returned does it `repeats` times. */
  readonly prepare: (engine: Engine) => () => Promise<void>;
}

const matmulWorkload = (n: number): Workload => ({
  name: `matmul ${n}³`,
  repeats: 5,
  flops: 2 * n ** 3,
  unit: 'products',
  prepare: (engine) => {
    const a = randomNormal(engine, [n, n], { seed: 1 });
    const b = randomNormal(engine, [n, n], { seed: 2 });
    const program = engine.capture(() => matmul(a, b));
    return async () => {
      program.run(5);
      await engine.sync();
    };
  },
});

const mlp: Workload = {
  name: 'training step of an MLP 784-32-5, batch 128',
  repeats: 100,
  unit: 'steps',
  prepare: (engine) => {
    const init = new Initializer(engine, 1);
    const layers = [new Linear(init, 784, 32), new Linear(init, 32, 5)] as const;
    const parameters = layers.flatMap((layer) => layer.parameters());
    const optimizer = sgd(parameters, { learningRate: 0.1, momentum: 0.9 });
    const images = randomNormal(engine, [12_800, 784], { seed: 2 });
    const labels = tensor(
      engine,
      Uint32Array.from({ length: 12_800 }, (_, i) => i % 5),
    );
    const order = tensor(engine, new BatchOrder(12_800, 128, { seed: 3, stream: 0 }).take(0, 100));
    const counter = zeros(engine, [1], 'u32');
    const losses = zeros(engine, [100]);
    const program = engine.capture(() => {
      const index = takeBatch(order, counter, 128);
      const logits = layers[1].forward(relu(layers[0].forward(gather(images, index))));
      const loss = crossEntropy(logits, gather(labels, index));
      optimizer.step(grad(loss, parameters));
      logStep(loss, losses, counter);
    });
    return async () => {
      counter.write([0]);
      program.run(100);
      await engine.sync();
    };
  },
};

const aligner = (latent: number): Workload => ({
  name: `aligner iteration, d = ${latent}, batch 128, 30 steps`,
  repeats: 200,
  unit: 'iterations',
  prepare: (engine) => {
    const previous = randomNormal(engine, [29_404, latent], { seed: 1 });
    const current = randomNormal(engine, [29_404, latent], { seed: 2 }, 0.3, 1.04);
    return async () => {
      (await EnergyAligner.fit(engine, { previous, current }, { iterations: 200 }, { every: 200 })).dispose();
    };
  },
});

const WORKLOADS = [matmulWorkload(512), matmulWorkload(1024), mlp, aligner(32), aligner(512)];

const filter = process.argv[2] ?? '';
const chosen = WORKLOADS.filter((workload) => workload.name.includes(filter));
const engine = await Engine.create();
const bench = new Bench({ time: 2000, warmupTime: 0, warmupIterations: 1, iterations: 3 });
for (const workload of chosen) {
  let run: (() => Promise<void>) | undefined;
  bench.add(
    workload.name,
    async () => {
      await run!();
    },
    {
      beforeAll: () => {
        run = workload.prepare(engine);
      },
    },
  );
}
await bench.run();
const rows = chosen.map((workload, i) => {
  const result = bench.tasks[i]!.result;
  const latency = 'latency' in result ? result.latency : undefined;
  return { workload, median: latency?.p50, low: latency?.min, high: latency?.max };
});
process.stdout.write(`${engine.adapter.name}, ${engine.adapter.driver}\n`);
process.stdout.write(
  `${await renderTable(
    [
      { head: 'workload', align: 'left', cell: ({ workload }) => workload.name },
      {
        head: 'median ms',
        cell: ({ workload, median }) =>
          median === undefined ? undefined : (median / workload.repeats).toFixed(3),
      },
      {
        head: 'range',
        cell: ({ workload, low, high }) =>
          low === undefined || high === undefined
            ? undefined
            : `${(low / workload.repeats).toFixed(3)}–${(high / workload.repeats).toFixed(3)}`,
      },
      {
        head: 'per second',
        cell: ({ workload, median }) =>
          median === undefined
            ? undefined
            : `${((1000 * workload.repeats) / median).toFixed(0)} ${workload.unit}`,
      },
      {
        head: 'GFLOP/s',
        cell: ({ workload, median }) =>
          median === undefined || workload.flops === undefined
            ? undefined
            : ((workload.flops * workload.repeats) / median / 1e6).toFixed(1),
      },
    ],
    rows,
  )}\n`,
);
engine.dispose();
