// Forward and backward pass of a 3×3 convolution: eli-webgpu, jax-js and TensorFlow.js, on one adapter in one process.
//
//   npm --prefix bench/peers ci && npx tsx bench/peers/conv.mts
//
// Each library's gradients are compared with eli-webgpu's before its time counts (which ops.test.ts compares with
// float64). Rounds take turns, so that a noisy minute meets all of them; medians are printed.
import { dawn } from '../../src/gpu/instance.ts';
import { conv2d, Engine, grad, randomNormal, tensor } from '../../src/index.ts';

const SHAPES = [
  { n: 32, c: 16, size: 32, o: 16 },
  { n: 32, c: 64, size: 8, o: 64 },
];
const ROUNDS = 15;

interface Peer {
  readonly name: string;
  /** Does it once and waits for the device. */
  readonly run: () => Promise<void>;
  /** Gradients of images [n, c, h, w] and weights [o, c, 3, 3] of Σ y · dy. */
  readonly gradients: () => Promise<[Float32Array, Float32Array]>;
}
type Values = Record<'x' | 'w' | 'dy', Float32Array<ArrayBuffer>>;
type Shape = (typeof SHAPES)[number];

/** Their types are not installed with this project. */
// biome-ignore lint/suspicious/noExplicitAny: see above
const load = (name: string): Promise<any> => import(name);

async function ours(engine: Engine, { n, c, size, o }: Shape, values: Values): Promise<Peer> {
  const x = tensor(engine, values.x, [n, c, size, size]);
  const w = tensor(engine, values.w, [o, c, 3, 3]);
  const dy = tensor(engine, values.dy, [n, o, size, size]);
  x.requiresGrad = true;
  w.requiresGrad = true;
  const program = engine.capture(() =>
    grad(conv2d(x, w, undefined, { padding: 1 }), [x, w], { gradOutput: dy }),
  );
  return {
    name: 'eli-webgpu',
    run: async () => {
      program.run();
      await engine.sync();
    },
    gradients: async () => {
      const [gx, gw] = await Promise.all(program.result.map((t) => t.readFloats()));
      return [gx!, gw!];
    },
  };
}

async function jax({ n, c, size, o }: Shape, values: Values): Promise<Peer> {
  const { init, defaultDevice, jit, valueAndGrad, numpy, lax, blockUntilReady } = await load('@jax-js/jax');
  await init('webgpu');
  defaultDevice('webgpu');
  const x = numpy.array(values.x).reshape([n, c, size, size]);
  const w = numpy.array(values.w).reshape([o, c, 3, 3]);
  const dy = numpy.array(values.dy).reshape([n, o, size, size]);
  const loss = (a: unknown, b: unknown) => numpy.sum(lax.conv(a, b, [1, 1], 'SAME').mul(dy.ref));
  // The value keeps the forward pass in the program.
  const step = jit(valueAndGrad(loss, { argnums: [0, 1] }));
  return {
    name: '@jax-js/jax webgpu',
    run: async () => {
      const [value, grads] = step(x.ref, w.ref);
      await blockUntilReady([value, ...grads]);
      value.dispose();
      for (const g of grads) g.dispose();
    },
    gradients: async () => {
      const [value, [gx, gw]] = step(x.ref, w.ref);
      value.dispose();
      return [await gx.data(), await gw.data()];
    },
  };
}

async function tensorflow({ n, c, size, o }: Shape, values: Values): Promise<Peer> {
  const tf = await load('@tensorflow/tfjs');
  await load('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend('webgpu');
  await tf.ready();
  // Its convolutions want channels last; the change of layout is not timed.
  const last = (data: Float32Array, shape: number[], order: number[]) =>
    tf.tidy(() => tf.transpose(tf.tensor(data, shape), order));
  const x = last(values.x, [n, c, size, size], [0, 2, 3, 1]);
  const w = last(values.w, [o, c, 3, 3], [2, 3, 1, 0]);
  const dy = last(values.dy, [n, o, size, size], [0, 2, 3, 1]);
  const step = tf.valueAndGrads((a: unknown, b: unknown) => tf.sum(tf.mul(tf.conv2d(a, b, 1, 'same'), dy)));
  return {
    name: '@tensorflow/tfjs-backend-webgpu',
    run: async () => {
      const { value, grads } = step([x, w]);
      // A read of one number each waits for all that was submitted.
      await Promise.all([value, ...grads].map((t) => tf.slice(tf.reshape(t, [-1]), 0, 1).data()));
      tf.dispose([value, ...grads]);
    },
    gradients: async () => {
      const { grads } = step([x, w]);
      const [gx, gw] = [tf.transpose(grads[0], [0, 3, 1, 2]), tf.transpose(grads[1], [3, 2, 0, 1])];
      return [await gx.data(), await gw.data()];
    },
  };
}

/** Largest difference over the largest value. */
function difference(a: Float32Array, b: Float32Array): number {
  let [worst, size] = [0, 0];
  b.forEach((v, i) => {
    worst = Math.max(worst, Math.abs(a[i]! - v));
    size = Math.max(size, Math.abs(v));
  });
  return a.length === b.length ? worst / size : Number.POSITIVE_INFINITY;
}

const median = (list: number[]): number => list.toSorted((a, b) => a - b)[list.length >> 1]!;

const engine = await Engine.create();
// The peers look where a browser has it.
Object.defineProperty(globalThis, 'navigator', {
  value: { gpu: dawn(''), userAgent: 'node', platform: 'node' },
});
console.log(`${engine.adapter.name}, ${engine.adapter.driver}`);
for (const shape of SHAPES) {
  const { n, c, size, o } = shape;
  const [x, w, dy] = await Promise.all(
    [
      [n, c, size, size],
      [o, c, 3, 3],
      [n, o, size, size],
    ].map((dims, seed) => randomNormal(engine, dims, { seed }).readFloats()),
  );
  const values = { x: x!, w: w!, dy: dy! };
  const peers: Peer[] = [];
  for (const make of [
    () => ours(engine, shape, values),
    () => jax(shape, values),
    () => tensorflow(shape, values),
  ]) {
    peers.push(await make());
  }
  await peers[0]!.run();
  const mine = await peers[0]!.gradients();
  for (const peer of peers) {
    const theirs = await peer.gradients();
    const off = Math.max(difference(theirs[0], mine[0]), difference(theirs[1], mine[1]));
    if (!(off < 1e-4)) throw new Error(`${peer.name} is off by ${off}`);
  }
  const times = peers.map((): number[] => []);
  for (let round = 0; round < ROUNDS + 1; round++) {
    for (const [i, peer] of peers.entries()) {
      const start = performance.now();
      await peer.run();
      if (round > 0) times[i]!.push(performance.now() - start);
    }
  }
  console.log(`\n3×3 convolution, forward and backward, ${n}×${c}×${size}×${size} → ${o} channels`);
  const best = median(times[0]!);
  peers.forEach((peer, i) => {
    const ms = median(times[i]!);
    console.log(
      `${peer.name.padEnd(34)} ${ms.toFixed(1).padStart(8)} ms  ${(ms / best).toFixed(1).padStart(5)} ×`,
    );
  });
}
engine.dispose();
process.exit(0);
