// Batch normalisation: running statistics, second derivatives, captured steps, bad input. Values,
// first gradients and the plain composition are checked from the op registry (ops.test.ts).
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { Initializer } from '../src/nn/init.ts';
import { BatchNorm2d } from '../src/nn/norm.ts';
import { add, mul } from '../src/ops/binary.ts';
import { batchNorm, batchNormEval } from '../src/ops/norm.ts';
import { sum } from '../src/ops/reduce.ts';
import { permute, slice } from '../src/ops/views.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal, randomUniform } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { type GoldenArray, goldenCase } from './support/golden.ts';

const engine = await openEngine();
test.after(closeEngine);

const SHAPE = [6, 5, 9, 7];
const leaf = (t: Tensor): Tensor => {
  t.requiresGrad = true;
  return t;
};
const make = () => ({
  x: leaf(randomNormal(engine, SHAPE, { seed: 1 }, 0.5, 2)),
  weight: leaf(randomUniform(engine, [5], { seed: 2 }, 0.5, 1.5)),
  bias: leaf(randomNormal(engine, [5], { seed: 3 })),
  residual: leaf(randomNormal(engine, SHAPE, { seed: 4 })),
  dy: randomNormal(engine, SHAPE, { seed: 5 }),
});

test('kernels and ops give the same gradients', async () => {
  const { x, weight, bias, residual, dy } = make();
  const y = batchNorm(x, weight, bias, { residual, relu: true });
  const leaves = [x, weight, bias, residual];
  const kernels = grad(y, leaves, { gradOutput: dy });
  const ops = grad(y, leaves, { gradOutput: dy, createGraph: true });
  for (const [i, g] of kernels.entries()) {
    compare(await g.readFloats(), await ops[i]!.readFloats(), { abs: 3e-5, rel: 1e-5 }, `gradient ${i}`);
  }
});

test('the gradient of a gradient', async () => {
  const { x, weight, bias, dy } = make();
  // Without the ReLU, whose mask jumps: ∂/∂x of Σ (∂y/∂w)² against differences of the first gradient along a direction.
  const first = (at: Tensor, createGraph: boolean): Tensor =>
    grad(batchNorm(at, weight, bias), [weight], { gradOutput: dy, createGraph })[0]!;
  const dw = first(x, true);
  const [second] = grad(sum(mul(dw, dw)), [x]);
  const along = randomNormal(engine, SHAPE, { seed: 6 });
  const got = (await sum(mul(second!, along)).readFloats())[0]!;
  const at = async (step: number): Promise<number> => {
    const values = await first(add(x, mul(along, step)), false).readFloats();
    return values.reduce((total, v) => total + v * v, 0);
  };
  const step = 1e-2;
  const want = ((await at(step)) - (await at(-step))) / (2 * step);
  compare([got], [want], { abs: 0, rel: 1e-2 }, 'second derivative');
});

test('views and parameters inside larger buffers are read where they are', async () => {
  const whole = randomNormal(engine, [7, 9, 5, 8], { seed: 7 });
  const x = permute(slice(whole, 0, 1, 7), [0, 2, 1, 3]);
  const vectors = randomUniform(engine, [14], { seed: 8 }, 0.5, 1.5);
  const [weight, bias] = [slice(vectors, 0, 3, 8), slice(vectors, 0, 9, 14)];
  const dense = (t: Tensor): Promise<Float32Array> => t.readFloats();
  const [values, w, b] = await Promise.all([dense(x), dense(weight), dense(bias)]);
  const same = batchNorm(
    tensor(engine, values as Float32Array<ArrayBuffer>, x.shape),
    tensor(engine, w as Float32Array<ArrayBuffer>),
    tensor(engine, b as Float32Array<ArrayBuffer>),
  );
  const got = batchNorm(x, weight, bias);
  compare(await got.readFloats(), await same.readFloats(), { abs: 0, rel: 0 }, 'values');
});

test('the module: training moves the statistics, evaluation and frozen ones do not', async () => {
  const norm = new BatchNorm2d(new Initializer(engine, 1), 5);
  assert.equal(
    norm.namedParameters().map(([name]) => name),
    ['weight', 'bias'],
  );
  const x = randomNormal(engine, SHAPE, { seed: 9 }, 3, 2);
  const program = engine.capture(() => norm.forward(x));
  program.run(100);
  const state = await norm.stateDict();
  assert.equal(Object.keys(state), ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']);
  assert.equal([...state.num_batches_tracked!.data], [100]);
  // After 100 times the same mini-batch the statistics are its own.
  const values = await x.readFloats();
  const plane = 63;
  for (let c = 0; c < 5; c++) {
    const own = Array.from(
      { length: 6 * plane },
      (_, i) => values[(Math.floor(i / plane) * 5 + c) * plane + (i % plane)]!,
    );
    const mean = own.reduce((a, v) => a + v, 0) / own.length;
    const variance = own.reduce((a, v) => a + (v - mean) ** 2, 0) / (own.length - 1);
    compare([state.running_mean!.data[c]!], [mean], { abs: 1e-3, rel: 1e-3 }, 'mean');
    compare([state.running_var!.data[c]!], [variance], { abs: 1e-3, rel: 1e-3 }, 'variance');
  }
  program.dispose();
  norm.train(false);
  const evaluated = await norm.forward(x).readFloats();
  const [weight, bias] = [norm.weight, norm.bias];
  const want = await batchNormEval(x, weight, bias, {
    mean: norm.running_mean,
    variance: norm.running_var,
  }).readFloats();
  compare(evaluated, want, { abs: 0, rel: 0 }, 'evaluation');
  norm.train(true);
  norm.frozen = true;
  compare(await norm.forward(x).readFloats(), want, { abs: 0, rel: 0 }, 'frozen');
  const after = await norm.stateDict();
  assert.equal([...after.running_mean!.data], [...state.running_mean!.data]);
  const other = new BatchNorm2d(new Initializer(engine, 2), 5);
  other.loadStateDict(after);
  other.train(false);
  compare(await other.forward(x).readFloats(), want, { abs: 0, rel: 0 }, 'loaded');
  norm.dispose();
  other.dispose();
});

const golden = goldenCase('batchnorm2d');
if (golden !== undefined) {
  test("PyTorch's two training steps and evaluation", async () => {
    const { inputs, outputs, args } = golden;
    const put = (array: GoldenArray): Tensor => tensor(engine, Float32Array.from(array.data), array.shape);
    const norm = new BatchNorm2d(new Initializer(engine, 1), 3, {
      momentum: args.momentum as number,
      epsilon: args.eps as number,
    });
    const zero = { shape: [], data: new Float32Array(1) };
    const vector = (name: string) => ({ shape: [3], data: Float32Array.from(inputs[name]!.data) });
    norm.loadStateDict({
      weight: vector('w'),
      bias: vector('b'),
      running_mean: vector('running_mean'),
      running_var: vector('running_var'),
      num_batches_tracked: zero,
    });
    const near = async (t: Tensor, name: string): Promise<void> => {
      assert.ok(outputs[name], `the case has ${name}: ${Object.keys(outputs)}`);
      compare(await t.readFloats(), outputs[name].data, { abs: 1e-5, rel: 1e-5 }, name);
    };
    const x1 = leaf(put(inputs.x1!));
    const y1 = norm.forward(x1);
    await near(y1, 'y1');
    const gradients = grad(y1, [x1, norm.weight, norm.bias], { gradOutput: put(inputs.gy!) });
    for (const [i, name] of ['gx1', 'gw1', 'gb1'].entries()) await near(gradients[i]!, name);
    await near(norm.running_mean, 'running_mean_1');
    await near(norm.running_var, 'running_var_1');
    const x2 = leaf(put(inputs.x2!));
    await near(norm.forward(x2), 'y2');
    await near(norm.running_mean, 'running_mean_2');
    await near(norm.running_var, 'running_var_2');
    norm.train(false);
    const evaluated = norm.forward(x2);
    await near(evaluated, 'y_eval');
    const frozen = grad(evaluated, [x2, norm.weight, norm.bias], { gradOutput: put(inputs.gy!) });
    for (const [i, name] of ['gx_eval', 'gw_eval', 'gb_eval'].entries()) await near(frozen[i]!, name);
  });
}

test('bad input is refused', async () => {
  const { x, weight, bias } = make();
  await fails(() => batchNorm(zeros(engine, [3, 5]), weight, bias), 'SHAPE', /\[3, 5\]/);
  await fails(
    () => batchNorm(x, zeros(engine, [4]), bias),
    'SHAPE',
    /weight: expected shape \[5\], got \[4\]/,
  );
  await fails(
    () => batchNorm(zeros(engine, [1, 5, 1, 1]), weight, bias),
    'ARGUMENT',
    /one value per channel/,
  );
  await fails(
    () => batchNorm(x, weight, bias, { residual: zeros(engine, [6, 5, 9, 6]) }),
    'SHAPE',
    /residual/,
  );
});

test.run();
