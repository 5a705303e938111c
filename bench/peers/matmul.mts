// Product of two n × n matrices.
import {
  autotune,
  cast,
  type Engine,
  type FloatDType,
  matmul,
  randomNormal,
  type Tensor,
  tensor,
} from '../../src/index.ts';
import type { Comparison, Contender } from './compare.mts';
import { type Jax, type Libraries, OURS, type TensorFlow, type Untyped } from './libraries.mts';

type Operand = Float32Array<ArrayBuffer>;

async function jaxMatmul(jax: Jax, n: number, a: Operand, b: Operand): Promise<Contender> {
  const { jit, numpy: np } = jax.lib;
  await jax.use();
  const [x, y] = [jax.array(a, [n, n]), jax.array(b, [n, n])];
  const program = jit((p: Untyped, q: Untyped) => np.matmul(p, q));
  return {
    library: jax.library,
    run: async (times) => {
      await jax.use();
      await jax.repeat(times, () => [program(x.ref, y.ref)]);
    },
    result: async () => {
      await jax.use();
      return [await program(x.ref, y.ref).data()];
    },
  };
}

async function tfMatmul(
  { library, tf, use }: TensorFlow,
  n: number,
  a: Operand,
  b: Operand,
): Promise<Contender> {
  await use();
  const [x, y] = [tf.tensor(a, [n, n]), tf.tensor(b, [n, n])];
  return {
    library,
    run: async (times) => {
      await use();
      for (let k = 1; k < times; k++) tf.matMul(x, y).dispose();
      // A read of one number waits for all that was submitted.
      const end = tf.tidy(() => tf.slice(tf.matMul(x, y), [0, 0], [1, 1]));
      await end.data();
      end.dispose();
    },
    result: async () => {
      await use();
      const product = tf.matMul(x, y);
      const values = await product.data();
      product.dispose();
      return [values];
    },
  };
}

/** Our product, by the rule's variant or by the one that is fastest here; `rows` of it are compared. */
export async function matmulOurs(
  engine: Engine,
  n: number,
  a: Operand,
  b: Operand,
  { rows = n, dtype = 'f32' as FloatDType, tuned = false } = {},
): Promise<Contender> {
  const [x, y] = [a, b].map((values) => cast(tensor(engine, values, [n, n]), dtype)) as [Tensor, Tensor];
  if (tuned) await autotune(engine, () => matmul(x, y));
  const program = engine.capture(() => matmul(x, y));
  return {
    library: [OURS, ...(dtype === 'f32' ? [] : [dtype]), ...(tuned ? ['tuned'] : [])].join(', '),
    run: async (times) => {
      program.run(times);
      await engine.sync();
    },
    result: async () => {
      program.run();
      return [(await program.result.readFloats()).subarray(0, rows * n)];
    },
  };
}

/** Two matrices, and how PyTorch multiplies them: the first `rows` rows are compared. */
export async function matmulProblem(engine: Engine, n: number, rows = n) {
  const a = await randomNormal(engine, [n, n], { seed: 1 }).readFloats();
  const b = await randomNormal(engine, [n, n], { seed: 2 }).readFloats();
  const inputs = { a: { data: a, shape: [n, n] }, b: { data: b, shape: [n, n] } };
  return {
    a,
    b,
    expected: () => [product(a, b, n, rows)],
    torch: { task: 'matmul', options: { rows }, inputs },
  };
}

export async function matmulComparison(libraries: Libraries, n: number): Promise<Comparison> {
  const { engine } = libraries;
  const { a, b, expected, torch } = await matmulProblem(engine, n);
  return {
    name: `matmul ${n}³`,
    unit: 'GFLOP/s',
    figure: (ms) => (2 * n ** 3) / ms / 1e6,
    expected,
    tolerance: 1e-5,
    contenders: [
      async () => matmulOurs(engine, n, a, b),
      () => jaxMatmul(libraries.jaxGpu, n, a, b),
      () => jaxMatmul(libraries.jaxWasm, n, a, b),
      () => tfMatmul(libraries.tfGpu, n, a, b),
      () => tfMatmul(libraries.tfWasm, n, a, b),
      async () => libraries.torch?.contender({ library: 'PyTorch CPU', ...torch }),
    ],
  };
}

/** The first rows in float64. */
function product(a: Operand, b: Operand, n: number, rows: number): Float64Array {
  const c = new Float64Array(rows * n);
  for (let row = 0; row < rows; row++) {
    const out = c.subarray(row * n, (row + 1) * n);
    for (let k = 0; k < n; k++) {
      const factor = a[row * n + k]!;
      for (let column = 0; column < n; column++) out[column]! += factor * b[k * n + column]!;
    }
  }
  return c;
}
