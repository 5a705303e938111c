// f16 tensors: conversion of every half, odd places in a word, views, dtypes that do not fit, f32 parameters beside f16.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { floatsToHalves, halvesToFloats } from '../src/files/floats.ts';
import { normalizeRows } from '../src/nn/losses.ts';
import { add } from '../src/ops/binary.ts';
import { conv2d } from '../src/ops/conv.ts';
import { cast } from '../src/ops/core/cast.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { linear, matmul } from '../src/ops/matmul.ts';
import { batchNorm } from '../src/ops/norm.ts';
import { mean, sum } from '../src/ops/reduce.ts';
import { softmax } from '../src/ops/softmax.ts';
import { affine } from '../src/ops/unary.ts';
import { slice, transpose } from '../src/ops/views.ts';
import { empty, fill, full, tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const ALL_HALVES = Uint16Array.from({ length: 1 << 16 }, (_, half) => half);
const isNaNHalf = (half: number): boolean => (half & 0x7fff) > 0x7c00;

test('every half becomes a float and the same half again; a NaN stays one', () => {
  const back = floatsToHalves(halvesToFloats(ALL_HALVES));
  for (const half of ALL_HALVES) {
    if (isNaNHalf(half)) assert.ok(isNaNHalf(back[half]!), `NaN ${half.toString(16)}`);
    else assert.is(back[half], half);
  }
});

test('numbers between two halves go to the nearer, from the middle to the even one', () => {
  const values = halvesToFloats(ALL_HALVES);
  for (let half = 0; half < 0x7c00; half++) {
    const low = values[half]!;
    // What would come after the largest half.
    const high = half === 0x7bff ? 65_536 : values[half + 1]!;
    const middle = (low + high) / 2;
    const nudge = (high - low) * 2 ** -30;
    const even = half % 2 === 0 ? half : half + 1;
    const got = floatsToHalves([middle - nudge, middle, middle + nudge, -middle]);
    assert.equal([...got], [half, even, half + 1, even | 0x8000], `around ${middle}`);
  }
  assert.equal([...floatsToHalves([1e300, -1e-300, 65_519.999])], [0x7c00, 0x8000, 0x7bff]);
});

const engine = await openEngine();
test.after(closeEngine);
const halfTest = engine.has('shader-f16') ? test : test.skip;

/** Whole numbers from `first` on. */
const numbers = (count: number, first = 1): number[] => Array.from({ length: count }, (_, i) => first + i);

halfTest('an f16 tensor takes two bytes an element and is read as floats', async () => {
  const x = tensor(engine, [1, 2.0009765625, 1e-7, -7e4, 65_504], [5], 'f16');
  assert.is(x.storage.bytes, 10);
  const values = await x.read();
  assert.instance(values, Float32Array);
  assert.equal([...values], [1, 2, 2 ** -23, Number.NEGATIVE_INFINITY, 65_504]);
  assert.is(await slice(x, 0, 4, 5).item(), 65_504, 'the second half of a word');
  assert.equal(
    [...(await transpose(tensor(engine, numbers(6), [2, 3], 'f16')).readFloats())],
    [1, 4, 2, 5, 3, 6],
  );
  x.dispose();
});

halfTest('writing and filling part of a buffer leaves its neighbours in the same word', async () => {
  for (const [start, end] of [
    [0, 3],
    [1, 4],
    [2, 3],
    [3, 7],
    [0, 7],
  ] as const) {
    const want = numbers(7).map((v, i) => (i >= start && i < end ? -v : v));
    const x = tensor(engine, numbers(7), [7], 'f16');
    const part = slice(x, 0, start, end);
    part.write(want.slice(start, end));
    assert.equal([...(await x.read())], want, `written ${start} to ${end}`);
    fill(part, 0.1);
    const tenth = halvesToFloats(floatsToHalves([0.1]))[0]!;
    assert.equal(
      [...(await x.read())],
      want.map((v, i) => (i >= start && i < end ? tenth : v)),
    );
    x.dispose();
  }
  const ones = full(engine, [3], 1, 'f16');
  assert.equal([...(await ones.read())], [1, 1, 1]);
});

halfTest('the device converts as the CPU does, to within the last bit; and back exactly', async () => {
  const finite = halvesToFloats(ALL_HALVES).filter(Number.isFinite);
  const exact = tensor(engine, finite);
  const halves = cast(exact, 'f16');
  assert.is(halves.dtype, 'f16');
  assert.equal(await halves.read(), finite);
  assert.equal(await cast(halves, 'f32').read(), finite);
  assert.is(cast(halves, 'f16'), halves, 'nothing to do');
  const x = randomNormal(engine, [4097], { seed: 1 }, 0, 100);
  const want = halvesToFloats(floatsToHalves(await x.readFloats()));
  compare(await cast(x, 'f16').read(), want, { abs: 2 ** -24, rel: 2 ** -10 }, 'cast');
  assert.equal([...(await cast(tensor(engine, Int32Array.of(-3, 7)), 'f16').read())], [-3, 7]);
  for (const t of [exact, halves, x]) t.dispose();
});

halfTest('what an adapter lacks, and dtypes that do not go together, are said', async () => {
  const half = tensor(engine, numbers(4), [2, 2], 'f16');
  const single = tensor(engine, numbers(4), [2, 2]);
  await fails(() => add(half, single), 'DTYPE', /add/, /f16 \[2, 2\], f32 \[2, 2\]/, /cast/);
  await fails(() => matmul(single, half), 'DTYPE', /matmul/, /cast/);
  await fails(() => softmax(half), 'DTYPE', /softmax needs f32, got f16/, /cast\(x, 'f32'\)/);
  await fails(() => linear(single, half, full(engine, [2], 0)), 'DTYPE', /linear/, /f32/);
  await fails(() => add(tensor(engine, Uint32Array.of(1)), single), 'DTYPE', /f32 or f16/);
  half.requiresGrad = true;
  const gradOutput = full(engine, [2, 2], 1);
  await fails(() => grad(affine(half, 2, 0), [half], { gradOutput }), 'DTYPE', /gradOutput is f32/);
  const own = engine.has;
  engine.has = () => false;
  try {
    await fails(() => empty(engine, [2], 'f16'), 'DTYPE', /shader-f16 is missing/);
    await fails(() => cast(single, 'f16'), 'DTYPE', /shader-f16 is missing/);
  } finally {
    engine.has = own;
  }
});

halfTest(
  'f32 parameters beside an f16 x: as with parameters cast first, and their gradients are f32',
  async () => {
    const random = (shape: number[], seed: number): Tensor => randomNormal(engine, shape, { seed });
    const images = cast(random([2, 3, 6, 5], 1), 'f16');
    const rows = cast(random([7, 12], 2), 'f16');
    const cases: [string, Tensor, Tensor[], (x: Tensor, ...p: Tensor[]) => Tensor][] = [
      ['conv2d', images, [random([4, 3, 3, 3], 3), random([4], 4)], (x, w, b) => conv2d(x, w!, b)],
      ['conv2d 1×1', images, [random([4, 3, 1, 1], 5)], (x, w) => conv2d(x, w!)],
      [
        'conv2d 1×1 with bias',
        images,
        [random([4, 3, 1, 1], 5), random([4], 4)],
        (x, w, b) => conv2d(x, w!, b),
      ],
      ['linear', rows, [random([5, 12], 6), random([5], 7)], (x, w, b) => linear(x, w!, b!)],
    ];
    for (const [name, x, parameters, apply] of cases) {
      const halves = parameters.map((p) => cast(p, 'f16'));
      for (const t of [x, ...parameters, ...halves]) t.requiresGrad = true;
      const run = (own: Tensor[]): [Tensor, ...Tensor[]] => {
        const y = apply(x, ...own);
        assert.is(y.dtype, 'f16', name);
        const gradOutput = cast(randomNormal(engine, y.shape, { seed: 9 }), 'f16');
        return [y, ...grad(y, [x, ...own], { gradOutput })];
      };
      const [y, dx, ...gradients] = run(parameters);
      const [yHalf, dxHalf, ...halfGradients] = run(halves);
      assert.equal(await y.read(), await yHalf.read(), name);
      assert.equal(await dx!.read(), await dxHalf!.read(), `${name}: gradient of x`);
      for (const [i, gradient] of gradients.entries()) {
        assert.equal([gradient.dtype, halfGradients[i]!.dtype], ['f32', 'f16']);
        const [got, rounded] = [await gradient.readFloats(), await halfGradients[i]!.readFloats()];
        compare(rounded, got, { abs: 2 ** -24, rel: 2 ** -10 }, `${name}: gradient of parameter ${i}`);
        assert.not.equal(got, rounded, `${name}: it is not rounded to f16`);
      }
    }
  },
);

halfTest('f16 results and gradients of gradients come out of layers and losses', async () => {
  const x = cast(randomNormal(engine, [4, 3, 5, 5], { seed: 1 }), 'f16');
  const [weight, bias] = [full(engine, [3], 1.5), full(engine, [3], 0.25)];
  for (const t of [x, weight, bias]) t.requiresGrad = true;
  const y = batchNorm(x, weight, bias, { residual: x, relu: true });
  assert.is(y.dtype, 'f16');
  const [dx, dw] = grad(mean(y), [x, weight], { createGraph: true });
  assert.equal([dx!.dtype, dw!.dtype], ['f16', 'f32']);
  const [ddw] = grad(sum(dx!), [weight]);
  assert.ok((await ddw!.readFloats()).every(Number.isFinite));
  const logits = tensor(engine, [1, 2, 3, 4, 6, 5], [2, 3], 'f16');
  const loss = crossEntropy(logits, tensor(engine, Uint32Array.of(2, 1)));
  const wide = crossEntropy(cast(logits, 'f32'), tensor(engine, Uint32Array.of(2, 1)));
  assert.is(loss.dtype, 'f32');
  assert.is(await loss.item(), await wide.item());
  // Squares of 1e-5 are no f16 numbers.
  const small = normalizeRows(tensor(engine, [3e-5, 4e-5], [1, 2], 'f16'));
  compare(await small.read(), [0.6, 0.8], { abs: 1e-2, rel: 0 }, 'normalizeRows');
});

test.run();
