// Layers for images: initialisation, state names, and PyTorch's rules for windows at the borders. And gradients of
// gradients of convolutions, which the three passes make by being each other's backward.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { AdaptiveAvgPool2d, AvgPool2d, Conv2d, type Conv2dOptions, MaxPool2d } from '../src/nn/conv.ts';
import { Initializer } from '../src/nn/init.ts';
import { Sequential } from '../src/nn/layers.ts';
import { mul } from '../src/ops/binary.ts';
import { conv2d } from '../src/ops/conv.ts';
import { sum } from '../src/ops/reduce.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const ROUNDING = { abs: 1e-6, rel: 1e-6 };
const counting = (shape: readonly number[]): Tensor =>
  tensor(
    engine,
    Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
    shape,
  );

test('Conv2d starts as PyTorch does: weight and bias uniform in ±1/√fan-in', async () => {
  const layer = new Conv2d(new Initializer(engine, 1), 8, 64, [3, 5], { groups: 2 });
  assert.equal([...layer.weight.shape], [64, 4, 3, 5]);
  const bound = 1 / Math.sqrt(4 * 3 * 5);
  for (const t of [layer.weight, layer.bias!]) {
    const values = await t.readFloats();
    assert.ok(values.every((v) => Math.abs(v) <= bound));
    const variance = values.reduce((total, v) => total + v * v, 0) / values.length;
    // Of a uniform distribution; five standard errors of an estimate from `length` values, whose kurtosis is 1.8.
    const error = (bound ** 2 / 3) * Math.sqrt(0.8 / values.length);
    assert.ok(Math.abs(variance - bound ** 2 / 3) < 5 * error, `variance ${variance}`);
  }
});

test('layers are named as in PyTorch and give the shapes of their ops', () => {
  const init = new Initializer(engine, 1);
  const net = new Sequential([
    new Conv2d(init, 3, 6, 3, { stride: 2, padding: 1 }),
    new MaxPool2d(2, { stride: 1 }),
    new Conv2d(init, 6, 4, 1, { bias: false, weights: 'he' }),
    new AvgPool2d(3, { padding: 1, stride: 2 }),
    new AdaptiveAvgPool2d([1, 2]),
  ]);
  assert.equal(
    net.namedParameters().map(([name]) => name),
    ['0.weight', '0.bias', '2.weight'],
  );
  assert.equal([...net.forward(zeros(engine, [2, 3, 13, 11])).shape], [2, 4, 1, 2]);
});

test('what does not make a layer is refused', async () => {
  const init = new Initializer(engine, 1);
  await fails(() => new Conv2d(init, 6, 4, 3, { groups: 4 } as Conv2dOptions), 'SHAPE', /4 groups/);
  await fails(() => new Conv2d(init, 6, 4, 1.5), 'ARGUMENT', /kernel/);
});

test('ceil mode and divisors of averages at the borders', async () => {
  // 0 1 2 / 3 4 5 / 6 7 8; windows of 2 side by side, the last ones reach out of the image.
  const x = counting([1, 1, 3, 3]);
  const read = (options: object) => new AvgPool2d(2, options).forward(x).readFloats();
  compare(await read({}), [2], ROUNDING, 'floor');
  compare(await read({ ceilMode: true }), [2, 3.5, 6.5, 8], ROUNDING, 'beyond the padding nothing counts');
  const padded = { padding: 1, stride: 2 };
  compare(await read(padded), [0, 3 / 4, 9 / 4, 24 / 4], ROUNDING, 'zeros count');
  compare(
    await read({ ...padded, countIncludePad: false }),
    [0, 1.5, 4.5, 6],
    ROUNDING,
    'zeros do not count',
  );
  const largest = await new MaxPool2d(2, { ceilMode: true }).forward(x).readFloats();
  compare(largest, [4, 5, 7, 8], ROUNDING, 'max');
});

test('padding of a maximum counts as −∞', async () => {
  const y = new MaxPool2d(3, { padding: 1, stride: 2 }).forward(
    tensor(engine, [-5, -1, -2, -3], [1, 1, 2, 2]),
  );
  compare(await y.readFloats(), [-1], ROUNDING, 'max');
});

/**
 * g(x, w) = Σ r·∂(Σ conv²)/∂x is linear in x and quadratic in w, so its central differences have no error but that of
 * f32; the gradient in it is tested with the ops.
 */
test('gradients of gradients', async () => {
  const options = { stride: [2, 1], padding: [1, 2], dilation: [1, 2], groups: 2 } as const;
  const inputs = [
    randomNormal(engine, [2, 4, 5, 6], { seed: 1 }),
    randomNormal(engine, [6, 2, 3, 2], { seed: 2 }),
  ];
  const weights = randomNormal(engine, inputs[0]!.shape, { seed: 3 });
  const objective = (x: Tensor, w: Tensor): Tensor => {
    const y = conv2d(x, w, undefined, options);
    const [dx] = grad(sum(mul(y, y)), [x], { createGraph: true });
    return sum(mul(dx!, weights));
  };
  const values = await Promise.all(inputs.map((t) => t.readFloats()));
  for (const position of [0, 1]) {
    const direction = await randomNormal(engine, inputs[position]!.shape, { seed: 4 }).readFloats();
    const at = async (step: number): Promise<{ value: number; slope: number }> => {
      const leaves = values.map((v, i) => {
        const t = tensor(
          engine,
          v.map((value, k) => value + (i === position ? step * direction[k]! : 0)),
          inputs[i]!.shape,
        );
        t.requiresGrad = true;
        return t;
      });
      const g = objective(leaves[0]!, leaves[1]!);
      const gradient = await grad(g, [leaves[position]!])[0]!.readFloats();
      const slope = gradient.reduce((total, v, k) => total + v * direction[k]!, 0);
      return { value: (await g.readFloats())[0]!, slope };
    };
    // high − low, for a step of 1/2, is the slope.
    const [low, here, high] = [await at(-0.5), await at(0), await at(0.5)];
    const scale = Math.max(1, Math.abs(high.value), Math.abs(low.value), Math.abs(here.slope));
    assert.ok(Math.abs(here.slope) > 1, 'a gradient worth testing');
    assert.ok(Math.abs(high.value - low.value - here.slope) < 2e-5 * scale, `input ${position}`);
  }
});

test.run();
