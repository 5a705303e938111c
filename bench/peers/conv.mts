// Forward and backward pass of a 3×3 convolution, padded by 1: the gradients of Σ y · dy by images and weights.
import { conv2d, type Engine, grad, randomNormal, tensor } from '../../src/index.ts';
import { registry } from '../../src/ops/core/define.ts';
import { ndarray } from '../../src/ops/core/ndarray.ts';
import type { Comparison, Contender } from './compare.mts';
import { type Jax, type Libraries, OURS, type TensorFlow, type Untyped } from './libraries.mts';

/** n images of c channels and size × size pixels, o channels out. */
export interface ConvShape {
  readonly n: number;
  readonly c: number;
  readonly size: number;
  readonly o: number;
}
type Arrays = Readonly<Record<'x' | 'w' | 'dy', Float32Array<ArrayBuffer>>>;

const shapesOf = ({ n, c, size, o }: ConvShape) => ({
  x: [n, c, size, size],
  w: [o, c, 3, 3],
  dy: [n, o, size, size],
});

export function convOurs(engine: Engine, shape: ConvShape, arrays: Arrays): Contender {
  const shapes = shapesOf(shape);
  const x = tensor(engine, arrays.x, shapes.x);
  const w = tensor(engine, arrays.w, shapes.w);
  const dy = tensor(engine, arrays.dy, shapes.dy);
  x.requiresGrad = true;
  w.requiresGrad = true;
  const program = engine.capture(() =>
    grad(conv2d(x, w, undefined, { padding: 1 }), [x, w], { gradOutput: dy }),
  );
  return {
    library: OURS,
    run: async (times) => {
      program.run(times);
      await engine.sync();
    },
    result: async () => {
      program.run();
      return Promise.all(program.result.map((t) => t.readFloats()));
    },
  };
}

async function jaxConv(jax: Jax, shape: ConvShape, arrays: Arrays): Promise<Contender> {
  const { jit, valueAndGrad, numpy: np, lax } = jax.lib;
  await jax.use();
  const shapes = shapesOf(shape);
  const [x, w, dy] = (['x', 'w', 'dy'] as const).map((name) => jax.array(arrays[name], shapes[name]));
  const loss = (a: Untyped, b: Untyped) => np.sum(lax.conv(a, b, [1, 1], 'SAME').mul(dy.ref));
  // The value keeps the forward pass in the program.
  const program = jit(valueAndGrad(loss, { argnums: [0, 1] }));
  return {
    library: jax.library,
    run: async (times) => {
      await jax.use();
      await jax.repeat(times, () => program(x.ref, w.ref).flat());
    },
    result: async () => {
      await jax.use();
      const [value, [gx, gw]] = program(x.ref, w.ref);
      value.dispose();
      return [await gx.data(), await gw.data()];
    },
  };
}

async function tfConv(
  { library, tf, use }: TensorFlow,
  shape: ConvShape,
  arrays: Arrays,
): Promise<Contender> {
  await use();
  const shapes = shapesOf(shape);
  // Its convolutions want channels last; the change of layout is not timed.
  const last = (data: Float32Array, dims: number[], order: number[]) =>
    tf.tidy(() => tf.transpose(tf.tensor(data, dims), order));
  const x = last(arrays.x, shapes.x, [0, 2, 3, 1]);
  const w = last(arrays.w, shapes.w, [2, 3, 1, 0]);
  const dy = last(arrays.dy, shapes.dy, [0, 2, 3, 1]);
  const step = tf.valueAndGrads((a: Untyped, b: Untyped) => tf.sum(tf.mul(tf.conv2d(a, b, 1, 'same'), dy)));
  return {
    library,
    run: async (times) => {
      await use();
      for (let k = 0; k < times; k++) {
        const { value, grads } = step([x, w]);
        if (k === times - 1) {
          // A read of one number each waits for all that was submitted.
          const ends = [value, ...grads].map((t) => tf.tidy(() => tf.slice(tf.reshape(t, [-1]), 0, 1)));
          await Promise.all(ends.map((t) => t.data()));
          tf.dispose(ends);
        }
        tf.dispose([value, ...grads]);
      }
    },
    result: async () => {
      await use();
      const { grads } = step([x, w]);
      const [gx, gw] = [tf.transpose(grads[0], [0, 3, 1, 2]), tf.transpose(grads[1], [3, 2, 0, 1])];
      return [await gx.data(), await gw.data()];
    },
  };
}

/** Gradients by images and weights in float64. */
function gradients(shape: ConvShape, arrays: Arrays): Float64Array[] {
  const shapes = shapesOf(shape);
  const attrs = { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 };
  const [x, w, dy] = (['x', 'w', 'dy'] as const).map((name) => ndarray(shapes[name], arrays[name]));
  const size = [shape.size, shape.size];
  return [
    registry.get('conv2dInputGrad')!.reference([dy!, w!], { ...attrs, size }).data,
    registry.get('conv2dWeightGrad')!.reference([dy!, x!], { ...attrs, kernel: [3, 3] }).data,
  ];
}

/** Random arrays, their gradients, and how PyTorch finds those. */
export async function convProblem(engine: Engine, shape: ConvShape) {
  const shapes = shapesOf(shape);
  const [x, w, dy] = await Promise.all(
    Object.values(shapes).map((dims, seed) => randomNormal(engine, dims, { seed }).readFloats()),
  );
  const arrays = { x: x!, w: w!, dy: dy! };
  const inputs = Object.fromEntries(
    (['x', 'w', 'dy'] as const).map((name) => [name, { data: arrays[name], shape: shapes[name] }]),
  );
  const { n, c, size, o } = shape;
  const name = `conv 3×3 forward + backward, ${n}×${c}×${size}×${size} → ${o}`;
  return { name, arrays, expected: () => gradients(shape, arrays), torch: { task: 'conv', inputs } };
}

export async function convComparison(libraries: Libraries, shape: ConvShape): Promise<Comparison> {
  const { engine } = libraries;
  const { name, arrays, expected, torch } = await convProblem(engine, shape);
  return {
    name,
    unit: 'ms',
    figure: (ms) => ms,
    expected,
    tolerance: 1e-4,
    contenders: [
      async () => convOurs(engine, shape, arrays),
      () => jaxConv(libraries.jaxGpu, shape, arrays),
      () => jaxConv(libraries.jaxWasm, shape, arrays),
      // Its wasm back end has no gradient of a convolution.
      () => tfConv(libraries.tfGpu, shape, arrays),
      async () => libraries.torch?.contender({ library: 'PyTorch CPU', ...torch }),
    ],
  };
}
