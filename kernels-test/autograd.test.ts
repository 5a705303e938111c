// Gradients of gradients, and what the tape does with leaves, views and mistakes.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { detach, grad, noGrad } from '../src/autograd/tape.ts';
import { add, mul } from '../src/ops/binary.ts';
import { linear, matmul } from '../src/ops/matmul.ts';
import { argmax, sum } from '../src/ops/reduce.ts';
import { exp, sigmoid, silu, softplus, tanh } from '../src/ops/unary.ts';
import { reshape } from '../src/ops/views.ts';
import { tensor } from '../src/tensor/create.ts';
import { bitsAt } from '../src/tensor/random.ts';
import { sizeOf } from '../src/tensor/shape.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

function leaf(data: ArrayLike<number>, shape: readonly number[] = [data.length]): Tensor {
  const x = tensor(engine, Float32Array.from(data), shape);
  x.requiresGrad = true;
  return x;
}

const sigma = (x: number): number => 1 / (1 + Math.exp(-x));
/** Activations and their first derivative in float64. */
const ACTIVATIONS = {
  tanh: { apply: tanh, slope: (x: number) => 1 - Math.tanh(x) ** 2 },
  sigmoid: { apply: sigmoid, slope: (x: number) => sigma(x) * (1 - sigma(x)) },
  softplus: { apply: softplus, slope: sigma },
  silu: { apply: silu, slope: (x: number) => sigma(x) * (1 + x * (1 - sigma(x))) },
};

const [N, D, H] = [3, 5, 7];
const SHAPES = { x: [N, D], w1: [H, D], b1: [H], w2: [1, H], b2: [1] };
type Values = Record<keyof typeof SHAPES, number[]>;
const NAMES = Object.keys(SHAPES) as (keyof typeof SHAPES)[];

function randomValues(): Values {
  return Object.fromEntries(
    NAMES.map((name, stream) => [
      name,
      Array.from({ length: sizeOf(SHAPES[name]) }, (_, i) =>
        Math.fround(bitsAt({ seed: 3, stream }, i) / 2 ** 31 - 1),
      ),
    ]),
  ) as Values;
}

/** Σ over rows of ‖∂f/∂x‖² in float64, f(x) = w2 · φ(W1 x + b1) + b2: the gradient is W1ᵀ (w2 ∘ φ'). */
function squaredNorm({ x, w1, b1, w2 }: Values, slope: (x: number) => number): number {
  let total = 0;
  for (let n = 0; n < N; n++) {
    const s = b1.map((b, j) => {
      const h = Array.from({ length: D }, (_, i) => w1[j * D + i]! * x[n * D + i]!);
      return w2[j]! * slope(h.reduce((p, q) => p + q, b));
    });
    for (let i = 0; i < D; i++) total += s.reduce((p, v, j) => p + v * w1[j * D + i]!, 0) ** 2;
  }
  return total;
}

for (const [name, { apply, slope }] of Object.entries(ACTIVATIONS)) {
  test(`second derivatives of an MLP with ${name} against finite differences in float64`, async () => {
    const values = randomValues();
    const t = Object.fromEntries(NAMES.map((key) => [key, leaf(values[key], SHAPES[key])])) as Record<
      keyof typeof SHAPES,
      Tensor
    >;
    const f = linear(apply(linear(t.x, t.w1, t.b1)), t.w2, t.b2);
    const slopes = grad(sum(f), [t.x], { createGraph: true })[0]!;
    assert.ok(slopes.requiresGrad, 'a gradient made with createGraph is on the tape');
    const norm = sum(mul(slopes, slopes));
    // WGSL allows tanh an absolute error of 1e-5; some ten terms of size 1 add up.
    const tolerance = { abs: 1e-4, rel: 1e-4 };
    compare([await norm.item()], [squaredNorm(values, slope)], tolerance, 'norm');
    const wanted = ['x', 'w1', 'b1', 'w2'] as const;
    const got = grad(
      norm,
      wanted.map((key) => t[key]),
    );
    const step = 1e-5;
    for (const [k, key] of wanted.entries()) {
      const moved = (i: number, by: number): Values => ({
        ...values,
        [key]: values[key].map((v, at) => (at === i ? v + by : v)),
      });
      const want = values[key].map(
        (_, i) => (squaredNorm(moved(i, step), slope) - squaredNorm(moved(i, -step), slope)) / (2 * step),
      );
      assert.ok(
        want.some((v) => Math.abs(v) > 0.01),
        `the gradient of ${key} is not zero`,
      );
      compare(await got[k]!.readFloats(), want, tolerance, `gradient of ${key}`);
    }
    // b2 shifts f and leaves its gradient alone.
    await fails(() => grad(norm, [t.b2]), 'NOT_DIFFERENTIABLE', /input 0 \(shape \[1\]\)/);
  });
}

test('third derivative: x⁴ → 24 x', async () => {
  const x = leaf([-1.5, 0.5, 2]);
  const square = mul(x, x);
  let y = mul(square, square);
  for (let k = 0; k < 3; k++) y = grad(y, [x], { createGraph: true })[0]!;
  compare(await y.readFloats(), [-36, 12, 48], { abs: 0, rel: 1e-6 }, 'third derivative');
});

test('gradients of an input and of parameters in one call equal those of separate calls', async () => {
  const values = randomValues();
  const [x, w, b] = [leaf(values.x, [N, D]), leaf(values.w1, [H, D]), leaf(values.b1)];
  const y = sum(exp(linear(x, w, b)));
  const together = grad(y, [x, w, b]);
  for (const [i, input] of [x, w, b].entries()) {
    const alone = grad(y, [input])[0]!;
    assert.equal(together[i]!.shape, input.shape);
    assert.equal([...(await together[i]!.readFloats())], [...(await alone.readFloats())]);
  }
});

test('gradient with respect to an intermediate result', async () => {
  const x = leaf([1, 2]);
  const middle = mul(x, 3);
  const y = mul(middle, middle);
  const [gx, gm] = grad(y, [x, middle]);
  assert.equal([...(await gm!.readFloats())], [6, 12]);
  assert.equal([...(await gx!.readFloats())], [18, 36]);
});

test('gradOutput weighs the elements', async () => {
  const x = leaf([1, 2, 3]);
  const [g] = grad(mul(x, x), [x], { gradOutput: tensor(engine, [1, 0, -10]) });
  assert.equal([...(await g!.readFloats())], [2, 0, -60]);
});

test('a tensor used twice gets the sum of both gradients', async () => {
  const x = leaf([1, 2, 3, 4], [2, 2]);
  // d/dx Σ (x xᵀ-like products): x·x elementwise, x as both factors of a matrix product, x added to itself.
  assert.equal([...(await grad(mul(x, x), [x])[0]!.readFloats())], [2, 4, 6, 8]);
  assert.equal([...(await grad(add(x, x), [x])[0]!.readFloats())], [2, 2, 2, 2]);
  // Σ x·x: row sums of the right factor plus column sums of the left one.
  assert.equal([...(await grad(matmul(x, x), [x])[0]!.readFloats())], [3 + 4, 7 + 4, 3 + 6, 7 + 6]);
  const results = grad(sum(x), [x, x]);
  results[0]!.dispose();
  assert.equal([...(await results[1]!.readFloats())], [1, 1, 1, 1], 'each result is a tensor of its own');
});

test('detach cuts the path and shares the values', async () => {
  const x = leaf([1, 2]);
  const cut = detach(mul(x, 3));
  assert.is(cut.requiresGrad, false);
  const [g] = grad(mul(x, cut), [x]);
  assert.equal([...(await g!.readFloats())], [3, 6]);
  assert.is(detach(x).storage, x.storage);
});

test('noGrad records nothing, also when it throws, and only inside', async () => {
  const x = leaf([1, 2]);
  assert.is(noGrad(engine, () => mul(x, x)).requiresGrad, false);
  assert.throws(() =>
    noGrad(engine, () => {
      throw new Error('stop');
    }),
  );
  const y = noGrad(engine, () => noGrad(engine, () => mul(x, 2)));
  assert.is(y.requiresGrad, false);
  assert.is(mul(x, x).requiresGrad, true);
  assert.is(grad(mul(x, x), [x])[0]!.requiresGrad, false, 'without createGraph a gradient is a plain tensor');
});

test('grad without createGraph frees what it made but its results', () => {
  const x = leaf([1, 2, 3]);
  const y = sum(exp(mul(x, x)));
  const before = engine.memory.inUse;
  const [g] = grad(y, [x]);
  assert.is(engine.memory.inUse, before + 1);
  g!.dispose();
  assert.is(engine.memory.inUse, before);
});

test('mistakes are said', async () => {
  const x = leaf([1, 2, 3, 4, 5, 6], [2, 3]);
  const plain = tensor(engine, [1, 2]);
  const other = leaf([7]);
  await fails(
    () => grad(mul(x, 2), [plain]),
    'NOT_DIFFERENTIABLE',
    /input 0 \(shape \[2\]\)/,
    /requiresGrad = true/,
  );
  await fails(
    () => grad(mul(x, 2), [x, other]),
    'NOT_DIFFERENTIABLE',
    /does not depend on input 1 \(shape \[1\]\)/,
  );
  // Whole numbers have no gradient.
  await fails(() => grad(argmax(x), [x]), 'NOT_DIFFERENTIABLE', /does not depend on input 0/);
  await fails(
    () => grad(mul(x, 2), [x], { gradOutput: tensor(engine, [1, 2, 3, 4, 5, 6], [3, 2]) }),
    'SHAPE',
    /\[3, 2\]/,
    /\[2, 3\]/,
  );
  const used = reshape(mul(x, 2), [6]);
  assert.equal([...(await grad(used, [x])[0]!.readFloats())], new Array(6).fill(2), 'the tape works on');
});

test('a backward pass keeps what forward made and a few gradients, however deep the chain', async () => {
  const x = leaf([0.5, -1, 2]);
  const chain = (depth: number): Tensor => {
    let y: Tensor = x;
    for (let i = 0; i < depth; i++) y = add(sigmoid(y), y);
    return grad(sum(y), [x])[0]!;
  };
  const buffersOf = (depth: number): number => {
    const before = engine.memory.inUse;
    const program = engine.capture(() => chain(depth));
    const own = engine.memory.inUse - before;
    program.dispose();
    assert.is(engine.memory.inUse, before);
    return own;
  };
  // Two results a level stay; the gradients of a level give their buffers to the next.
  assert.is(buffersOf(40) - buffersOf(20), 2 * 20);
  const values = await chain(20).readFloats();
  const want = [0.5, -1, 2].map((start) => {
    let [y, slope] = [start, 1];
    for (let i = 0; i < 20; i++) {
      slope *= sigma(y) * (1 - sigma(y)) + 1;
      y += sigma(y);
    }
    return slope;
  });
  compare(values, want, { abs: 1e-5, rel: 1e-5 }, 'gradient');
});

test.run();
