// Convolution and pooling against PyTorch's float64 vectors, and the variants of the convolution kernel against one
// another.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { conv2d } from '../src/ops/conv.ts';
import { avgPool2d, globalAvgPool, maxPool2d } from '../src/ops/pool.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { type GoldenArray, type GoldenCase, goldenCase } from './support/golden.ts';

const engine = await openEngine();
test.after(closeEngine);

/** f32 sums of up to 400 products (gradients of weights) of numbers of size 1 to 3. */
const SUMS = { abs: 3e-5, rel: 1e-5 };

const leaf = (array: GoldenArray): Tensor => {
  const t = tensor(engine, Float32Array.from(array.data), array.shape);
  t.requiresGrad = true;
  return t;
};

async function check(c: GoldenCase, y: Tensor, wanted: Readonly<Record<string, Tensor>>): Promise<void> {
  assert.equal([...y.shape], [...c.outputs.y!.shape]);
  compare(await y.readFloats(), c.outputs.y!.data, SUMS, 'y');
  const gy = c.inputs.gy!;
  const gradients = grad(y, Object.values(wanted), {
    gradOutput: tensor(engine, Float32Array.from(gy.data), gy.shape),
  });
  for (const [i, name] of Object.keys(wanted).entries()) {
    compare(await gradients[i]!.readFloats(), c.outputs[name]!.data, SUMS, name);
  }
}

const CONVOLUTIONS = [
  'conv2d_1x1x5x5_o1_k3_s1_p1',
  'conv2d_2x3x16x16_o8_k3_s1_p1_nobias',
  'conv2d_2x3x7x9_o4_k3_s1_p0',
  'conv2d_2x3x7x9_o4_k3_s1_p1',
  'conv2d_2x3x7x9_o4_k3_s2_p1',
  'conv2d_2x3x8x7_o4_k3_s2_p0',
  'conv2d_2x4x6x5_o3_k1_s1_p0',
  'conv2d_2x4x7x7_o6_k1_s2_p0_nobias',
  'conv2d_3x4x8x8_o5_k3_s2_p1_nobias',
];
for (const name of CONVOLUTIONS) {
  const c = goldenCase(name);
  // A fresh clone has a few of them.
  if (c === undefined) continue;
  test(`PyTorch: ${name}`, async () => {
    const { stride, padding, dilation, groups, bias } = c.args;
    const [x, w] = [leaf(c.inputs.x!), leaf(c.inputs.w!)];
    const b = bias ? leaf(c.inputs.b!) : undefined;
    const y = conv2d(x, w, b, { stride, padding, dilation, groups });
    await check(c, y, { gx: x, gw: w, ...(b === undefined ? {} : { gb: b }) });
  });
}

const POOLS: Readonly<Record<string, (x: Tensor, args: GoldenCase['args']) => Tensor>> = {
  avgpool_k2s2: (x, a) => avgPool2d(x, a.kernel, { stride: a.stride, padding: a.padding }),
  avgpool_k8: (x, a) => avgPool2d(x, a.kernel, { stride: a.stride, padding: a.padding }),
  global_avgpool: (x) => globalAvgPool(x),
  maxpool_k2s2: (x, a) => maxPool2d(x, a.kernel, { stride: a.stride, padding: a.padding }),
};
for (const [name, apply] of Object.entries(POOLS)) {
  const c = goldenCase(name);
  if (c === undefined) continue;
  test(`PyTorch: ${name}`, async () => {
    const x = leaf(c.inputs.x!);
    await check(c, apply(x, c.args), { gx: x });
  });
}

/** The largest of equal values in a window is the first in reading order; its gradient is not shared. */
test('ties of max pooling', async () => {
  const x = tensor(engine, [1, 1, 1, 1, 0, 2, 2, 2, 2], [1, 1, 3, 3]);
  x.requiresGrad = true;
  const y = maxPool2d(x, 2, { stride: 1 });
  assert.equal([...(await y.readFloats())], [1, 2, 2, 2]);
  assert.equal([...(await grad(y, [x])[0]!.readFloats())], [1, 0, 0, 0, 0, 2, 1, 0, 0]);
});

test('what does not fit is refused', async () => {
  const x = zeros(engine, [2, 4, 5, 5]);
  const refuse = (make: () => Tensor, ...patterns: RegExp[]) => fails(make, 'SHAPE', ...patterns);
  await refuse(() => conv2d(x, zeros(engine, [3, 3, 3, 3])), /\[3, 3, 3, 3\]/, /\[2, 4, 5, 5\]/);
  await refuse(
    () => conv2d(x, zeros(engine, [3, 4, 7, 7])),
    /7 × 7 is larger than the padded image of 5 × 5/,
  );
  await refuse(() => conv2d(x, zeros(engine, [3, 2, 3, 3]), undefined, { groups: 3 }), /3 groups/);
  await refuse(() => conv2d(x, zeros(engine, [3, 4, 3, 3]), zeros(engine, [4])), /bias/);
  await refuse(() => conv2d(zeros(engine, [4, 5, 5]), zeros(engine, [3, 4, 3, 3])), /\[4, 5, 5\]/);
  await refuse(() => maxPool2d(x, 6), /larger than the padded image/);
  await fails(() => conv2d(x, zeros(engine, [3, 4, 3, 3]), undefined, { stride: 0 }), 'ARGUMENT', /stride/);
  await fails(() => maxPool2d(x, 2, { padding: 2 }), 'ARGUMENT', /padding/);
});

test.run();
