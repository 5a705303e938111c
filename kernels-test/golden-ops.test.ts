// Ops and their gradients against PyTorch's float64 vectors, through the functions that users call.
import { test } from 'uvu';
import { grad } from '../src/autograd/tape.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { linear } from '../src/ops/matmul.ts';
import { logSoftmax, softmax } from '../src/ops/softmax.ts';
import { leakyRelu, relu } from '../src/ops/unary.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { type GoldenArray, goldenCase } from './support/golden.ts';

const engine = await openEngine();
test.after(closeEngine);

/** Sums of at most six products of numbers near 1: a few roundings of 6e-8 each. */
const ROUNDING = { abs: 1e-6, rel: 1e-6 };
/** One multiplication by a slope that is itself rounded to f32: half an ulp, 6e-8, each. */
const ONE_PRODUCT = { abs: 0, rel: 1.2e-7 };
/** Logits up to 100 have an ulp of 8e-6, and WGSL allows log 2^-21 and exp 3 + 2|x| ulp. */
const EXPONENTIALS = { abs: 3e-6, rel: 2e-6 };

/** The array as a leaf that wants a gradient. */
function leaf(array: GoldenArray): Tensor {
  const x = tensor(engine, Float32Array.from(array.data), array.shape);
  x.requiresGrad = true;
  return x;
}

/** Compares the gradients of Σ gy · y with the outputs of these names. */
async function gradients(
  y: Tensor,
  gy: GoldenArray,
  wanted: readonly (readonly [Tensor, GoldenArray, string])[],
  tolerance: { abs: number; rel: number },
): Promise<void> {
  const gradOutput = tensor(engine, Float32Array.from(gy.data), gy.shape);
  const got = grad(
    y,
    wanted.map(([x]) => x),
    { gradOutput },
  );
  for (const [i, [, want, name]] of wanted.entries())
    compare(await got[i]!.readFloats(), want.data, tolerance, name);
}

const linearCase = goldenCase('linear');
if (linearCase !== undefined) {
  test('linear: values and the gradients of x, weight and bias', async () => {
    const { inputs, outputs } = linearCase;
    const [x, w, b] = [leaf(inputs.x!), leaf(inputs.w!), leaf(inputs.b!)];
    const y = linear(x, w, b);
    compare(await y.readFloats(), outputs.y!.data, ROUNDING, 'y');
    const wanted = [
      [x, outputs.gx!, 'gx'],
      [w, outputs.gw!, 'gw'],
      [b, outputs.gb!, 'gb'],
    ] as const;
    await gradients(y, inputs.gy!, wanted, ROUNDING);
  });
}

for (const [name, apply] of [
  ['relu', (x: Tensor) => relu(x)],
  ['leaky_relu', (x: Tensor, slope: number) => leakyRelu(x, slope)],
] as const) {
  const golden = goldenCase(name);
  if (golden === undefined) continue;
  test(`${name}: values and gradient, at zero too`, async () => {
    const { inputs, outputs, args } = golden;
    const x = leaf(inputs.x!);
    const y = apply(x, args.slope);
    compare(await y.readFloats(), outputs.y!.data, ONE_PRODUCT, 'y');
    await gradients(y, inputs.gy!, [[x, outputs.gx!, 'gx']], ONE_PRODUCT);
  });
}

const entropyCase = goldenCase('cross_entropy');
if (entropyCase !== undefined) {
  const { inputs, outputs } = entropyCase;
  const target = (): Tensor => tensor(engine, Uint32Array.from(inputs.target!.data));

  test('cross entropy: loss and gradient', async () => {
    const logits = leaf(inputs.logits!);
    const loss = crossEntropy(logits, target());
    compare(await loss.readFloats(), outputs.loss!.data, EXPONENTIALS, 'loss');
    compare(await grad(loss, [logits])[0]!.readFloats(), outputs.grad!.data, EXPONENTIALS, 'grad');
  });

  test('cross entropy with class weights: loss and gradient', async () => {
    const logits = leaf(inputs.logits!);
    const weight = tensor(engine, Float32Array.from(inputs.class_weight!.data));
    const loss = crossEntropy(logits, target(), weight);
    compare(await loss.readFloats(), outputs.loss_weighted!.data, EXPONENTIALS, 'loss');
    compare(await grad(loss, [logits])[0]!.readFloats(), outputs.grad_weighted!.data, EXPONENTIALS, 'grad');
  });

  test('softmax and log-softmax: values, and the gradient of log-softmax', async () => {
    const logits = leaf(inputs.logits!);
    compare(await softmax(logits).readFloats(), outputs.softmax!.data, EXPONENTIALS, 'softmax');
    const y = logSoftmax(logits);
    compare(await y.readFloats(), outputs.log_softmax!.data, EXPONENTIALS, 'log-softmax');
    await gradients(y, inputs.gy!, [[logits, outputs.grad_log_softmax!, 'gradient']], EXPONENTIALS);
  });
}

test.run();
