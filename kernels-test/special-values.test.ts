// Every op on NaN, infinities, zeros of both signs, subnormal and the largest numbers, against its float64 reference: what
// IEEE 754 and PyTorch give. WGSL lets an implementation assume that there are no such numbers, so each driver is asked.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { maximum, minimum, mul, pow } from '../src/ops/binary.ts';
import { BINARY_CODES } from '../src/ops/core/binary-op.ts';
import { type OpCase, type OpDefinition, registry } from '../src/ops/core/define.ts';
import { type NdArray, ndarray } from '../src/ops/core/ndarray.ts';
import { UNARY_CODES } from '../src/ops/core/unary-op.ts';
import { clamp, relu } from '../src/ops/unary.ts';
import { where } from '../src/ops/where.ts';
import { tensor } from '../src/tensor/create.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { caseInputs, toTensor } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const LARGEST = 3.4028234663852886e38;
const SMALLEST_NORMAL = 2 ** -126;
const SPECIAL = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, LARGEST, -LARGEST];
const SUBNORMAL = [2 ** -149, -(2 ** -149), SMALLEST_NORMAL - 2 ** -149];
const ORDINARY = [1, -1, 0.5, 2, -3, 1e-20, -1e20];

/**
 * Differences that remain (docs/numbers.md):
 * - the sign of a zero that is the larger or smaller of both zeros, or the result of a sum: PyTorch does not say either;
 * - NaN where a weight or gradient that is not finite meets the padding of a convolution, which is multiplied as zeros.
 */
const EITHER_ZERO = new Set(['maximum', 'minimum']);
const PADDED = /^conv2d/;

/** Whether a result is right: NaN for NaN, infinities and zeros with their signs, other numbers within the tolerance. */
function isRight(op: OpDefinition<unknown>, got: number, want: number): boolean {
  const rounded = Math.fround(want);
  if (Object.is(got, rounded)) return true;
  if (Number.isNaN(got)) return PADDED.test(op.name);
  if (got === 0 && want === 0) return EITHER_ZERO.has(op.name) || !elementwise.has(op.name);
  // Results too small for a normal number may become 0.
  if (Math.abs(rounded) < SMALLEST_NORMAL) return want !== 0 && Math.abs(got) <= SMALLEST_NORMAL;
  return (
    Number.isFinite(rounded) && Math.abs(got - want) <= op.tolerance.abs + op.tolerance.rel * Math.abs(want)
  );
}

/** Drivers may take subnormal numbers for 0. */
function withoutSubnormals(x: NdArray): NdArray {
  return ndarray(
    x.shape,
    x.data.map((v) => (Math.abs(v) < SMALLEST_NORMAL ? Math.sign(v) * 0 : v)),
  );
}

const shown = (x: number): string => (Object.is(x, -0) ? '-0' : String(x));

/** Elements of an op's result that are not right, one line each. */
async function wrong(
  op: OpDefinition<unknown>,
  inputs: readonly NdArray[],
  { inputs: given, attrs }: OpCase<unknown>,
): Promise<string[]> {
  const tensors = inputs.map((x, i) => toTensor(engine, x, { ...given[i]!, shape: x.shape }));
  const y = engine.tidy(() => op.forward(tensors, attrs));
  const got = await y.read();
  const want = op.reference(inputs, attrs).data;
  for (const t of [...tensors, y]) t.dispose();
  const of = (i: number) =>
    elementwise.has(op.name) ? `(${inputs.map((x) => shown(x.data[i]!))})` : ` element ${i}`;
  const flushed = op.reference(inputs.map(withoutSubnormals), attrs).data;
  return [...got].flatMap((v, i) =>
    isRight(op, v, want[i]!) || Object.is(v, flushed[i])
      ? []
      : `${op.name}${of(i)} is ${shown(v)}, expected ${shown(Math.fround(want[i]!))}`,
  );
}

const elementwise = new Set([...Object.keys(UNARY_CODES), ...Object.keys(BINARY_CODES)]);
const dense = (name: string) => {
  const op = registry.get(name)!;
  return {
    op,
    flat: { inputs: op.cases[0]!.inputs.map(({ shape }) => ({ shape })), attrs: op.cases[0]!.attrs },
  };
};

for (const name of Object.keys(UNARY_CODES)) {
  test(`${name} of special values`, async () => {
    const { op, flat } = dense(name);
    const x = ndarray([17], [...SPECIAL, ...SUBNORMAL, ...ORDINARY].map(Math.fround));
    assert.equal(await wrong(op, [x], flat), []);
  });
}

for (const name of Object.keys(BINARY_CODES)) {
  test(`${name} of pairs of special values`, async () => {
    const { op, flat } = dense(name);
    const values = [...SPECIAL, ...ORDINARY].map(Math.fround);
    const n = values.length;
    const a = ndarray(
      [n * n],
      Array.from({ length: n * n }, (_, i) => values[i % n]!),
    );
    const b = ndarray(
      [n * n],
      Array.from({ length: n * n }, (_, i) => values[Math.floor(i / n)]!),
    );
    assert.equal(await wrong(op, [a, b], flat), []);
  });
}

for (const op of registry.values()) {
  if (elementwise.has(op.name)) continue;
  // Small cases: the reference is slow. Largest numbers would overflow in f32, not in the reference.
  const small = op.cases.filter((c) => c.inputs.every(({ shape }) => sizeOf(shape) <= 5000));
  small.slice(0, 4).forEach((c, number) => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0]) {
      test(`${op.name} case ${number} with ${shown(value)}`, async () => {
        const drawn = caseInputs(op, c, number);
        for (const [i, { dtype, below }] of c.inputs.entries()) {
          if (dtype === 'u32' || below !== undefined) continue;
          const x = ndarray(drawn[i]!.shape, drawn[i]!.data);
          const n = x.data.length;
          for (const at of [Math.floor(n / 3), n - 1]) x.data[at] = value;
          assert.equal((await wrong(op, drawn.with(i, x), c)).slice(0, 5), [], `input ${i}`);
        }
      });
    }
  });
}

const N = Number.NaN;
const I = Number.POSITIVE_INFINITY;
/** Gradients as PyTorch 2 has them: function of x (and y), x (and y), gradient of the output, gradients of the inputs. */
const GRADIENTS: readonly (readonly [
  name: string,
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly (readonly number[])[],
  g: readonly number[],
  want: readonly (readonly number[])[],
])[] = [
  ['relu', relu, [[-1, 0, 2, -3, N]], [I, N, 5, 1, 1], [[0, 0, 5, 0, 1]]],
  ['clamp', (x) => clamp(x, 0, 1), [[-1, 0.5, 2, N]], [I, 3, N, 1], [[0, 3, 0, 0]]],
  ['x^0', (x) => pow(x, 0), [[0, 2, -1]], [1, 1, 1], [[0, 0, 0]]],
  ['x^2', (x) => pow(x, 2), [[0, 3]], [1, 1], [[0, 6]]],
  [
    'x^y',
    pow,
    [
      [0, 0, 2],
      [0, 2, 0],
    ],
    [1, 1, 1],
    [
      [0, 0, 0],
      [0, 0, Math.log(2)],
    ],
  ],
  [
    'maximum',
    maximum,
    [
      [1, 2, N],
      [1, 5, 1],
    ],
    [4, I, 1],
    [
      [2, 0, 1],
      [2, I, 1],
    ],
  ],
  [
    'minimum',
    minimum,
    [
      [1, 2, N],
      [1, 5, 1],
    ],
    [4, I, 1],
    [
      [2, I, 1],
      [2, 0, 1],
    ],
  ],
  [
    'where',
    (a, b) => where(tensor(engine, [1, 0, N]), a, b),
    [
      [1, 2, 3],
      [4, 5, 6],
    ],
    [I, I, 2],
    [
      [I, 0, 2],
      [0, I, 0],
    ],
  ],
  ['times a number', (x) => mul(x, 2), [[0]], [-0], [[-0]]],
];

for (const [name, fn, inputs, g, want] of GRADIENTS) {
  test(`gradient of ${name} at special values`, async () => {
    const tensors = inputs.map((values) => tensor(engine, [...values]));
    for (const t of tensors) t.requiresGrad = true;
    const gradients = grad(fn(...tensors), tensors, { gradOutput: tensor(engine, [...g]) });
    for (const [i, gradient] of gradients.entries()) {
      assert.equal([...(await gradient.readFloats())], want[i]!.map(Math.fround), `input ${i}`);
    }
  });
}

test('a product with a number keeps −0', async () => {
  const y = mul(tensor(engine, [-0, 0]), 3);
  assert.equal(
    [...(await y.readFloats())].map((v) => 1 / v),
    [-I, I],
  );
});

test.run();
