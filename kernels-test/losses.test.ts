// Losses and layers of incremental learners: PyTorch's figures, and formulas in float64.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { CosineLinear, imprintedWeights, SplitCosineLinear } from '../src/nn/cosine.ts';
import { Dropout } from '../src/nn/dropout.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear, Sequential } from '../src/nn/layers.ts';
import {
  cosineDistance,
  distillation,
  featureDistance,
  marginRanking,
  normalizeRows,
  smoothedCrossEntropy,
  softCrossEntropy,
} from '../src/nn/losses.ts';
import { add, mul } from '../src/ops/binary.ts';
import { crossEntropy, oneHot } from '../src/ops/loss.ts';
import { affine, relu } from '../src/ops/unary.ts';
import { slice } from '../src/ops/views.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { full, tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { Trainer } from '../src/train/trainer.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { type GoldenArray, type GoldenCase, goldenCase } from './support/golden.ts';

const engine = await openEngine();
test.after(closeEngine);

/** f32 arithmetic of a dozen operations on numbers of size 1 to 10. */
const NEAR = { abs: 5e-6, rel: 1e-5 };

const leaf = (array: GoldenArray): Tensor => {
  const t = tensor(engine, Float32Array.from(array.data), array.shape);
  t.requiresGrad = true;
  return t;
};
const labelsOf = (array: GoldenArray): Tensor => tensor(engine, Uint32Array.from(array.data));
const near = async (t: Tensor, golden: GoldenCase, name: string): Promise<void> => {
  compare(await t.readFloats(), golden.outputs[name]!.data, NEAR, name);
};

function golden(name: string, check: (c: GoldenCase) => Promise<void>): void {
  const found = goldenCase(name);
  assert.ok(found, `data/golden has ${name}`);
  test(`PyTorch: ${name}`, () => check(found));
}

golden('icarl_distill', async (c) => {
  const { T, beta, num_old_classes: old } = c.args;
  const outputs = leaf(c.inputs.outputs!);
  const reference = tensor(engine, Float32Array.from(c.inputs.ref_outputs!.data), [5, 6]);
  const soft = affine(distillation(slice(outputs, 1, 0, old), reference, T), beta, 0);
  const hard = crossEntropy(outputs, labelsOf(c.inputs.target!));
  const total = add(soft, hard);
  for (const [loss, value, gradient] of [
    [soft, 'loss1', 'grad1'],
    [hard, 'loss2', 'grad2'],
    [total, 'loss', 'grad'],
  ] as const) {
    await near(loss, c, value);
    await near(grad(loss, [outputs])[0]!, c, gradient);
  }
});

golden('lucir_losses', async (c) => {
  const { num_old: old, K: hardest, dist: margin, lw_mr: weight, the_lambda: lambda } = c.args;
  const scores = leaf(c.inputs.scores!);
  const ranking = affine(
    marginRanking(scores, labelsOf(c.inputs.target!), { old, hardest, margin }),
    weight,
    0,
  );
  await near(ranking, c, 'loss_margin');
  await near(grad(ranking, [scores])[0]!, c, 'grad_scores');
  const current = leaf(c.inputs.cur_features!);
  const reference = tensor(engine, Float32Array.from(c.inputs.ref_features!.data), [6, 8]);
  const forget = affine(cosineDistance(current, reference), lambda, 0);
  await near(forget, c, 'loss_less_forget');
  await near(grad(forget, [current])[0]!, c, 'grad_cur_features');
});

golden('cosine_linear', async (c) => {
  const values = (name: string) => ({
    shape: c.inputs[name]!.shape,
    data: Float32Array.from(c.inputs[name]!.data),
  });
  const init = new Initializer(engine, 1);
  const x = leaf(c.inputs.x!);
  const one = new CosineLinear(init, 8, 4);
  one.loadStateDict({ weight: values('w1'), sigma: values('sigma') });
  const y = one.forward(x);
  await near(y, c, 'y');
  const gradOutput = tensor(engine, values('gy').data, [5, 4]);
  const gradients = grad(y, [x, one.weight, one.sigma!], { gradOutput });
  for (const [i, name] of ['gx', 'gw1', 'gsigma'].entries()) await near(gradients[i]!, c, name);
  const split = new SplitCosineLinear(init, 8, 4, 3);
  split.loadStateDict({
    'fc1.weight': values('w1'),
    'fc2.weight': values('w2'),
    sigma: values('sigma'),
  });
  const both = split.forward(x);
  await near(both, c, 'y_split');
  const leaves = [x, split.fc1.weight, split.fc2.weight, split.sigma];
  const apart = grad(both, leaves, { gradOutput: tensor(engine, values('gy_split').data, [5, 7]) });
  for (const [i, name] of ['gx_split', 'gw1_split', 'gw2_split', 'gsigma_split'].entries()) {
    await near(apart[i]!, c, name);
  }
});

test('smoothed labels are shares: (1 − ε) one-hot + ε / classes', async () => {
  const logits = randomNormal(engine, [7, 5], { seed: 1 });
  const labels = tensor(engine, Uint32Array.of(0, 4, 2, 1, 3, 3, 0));
  const shares = affine(oneHot(labels, 5), 0.9, 0.1 / 5);
  const [got] = await smoothedCrossEntropy(logits, labels, 0.1).readFloats();
  const [want] = await softCrossEntropy(logits, shares).readFloats();
  compare([got!], [want!], NEAR, 'loss');
  const [sharp] = await smoothedCrossEntropy(logits, labels, 0).readFloats();
  compare([sharp!], await crossEntropy(logits, labels).readFloats(), NEAR, 'without smoothing');
});

test('margin ranking without old samples is 0, with one it is that sample', async () => {
  const scores = tensor(engine, [0.9, 0.1, 0.7, 0.8, 0.2, 0.6, 0.5, 0.4], [2, 4]);
  const at = async (labels: number[]): Promise<number> => {
    const options = { old: 2, hardest: 2, margin: 0.5 };
    return (await marginRanking(scores, tensor(engine, Uint32Array.from(labels)), options).readFloats())[0]!;
  };
  assert.is(await at([2, 3]), 0);
  // Row 1, class 1: 0.5 − 0.6 + 0.5 and 0.5 − 0.6 + 0.4.
  compare([await at([3, 1])], [(0.4 + 0.3) / 2], NEAR, 'one old sample');
});

test('margin ranking: of equal scores each is one of the hardest', async () => {
  const scores = tensor(engine, [0.5, 0.1, 0.4, 0.4, 0.2], [1, 5]);
  scores.requiresGrad = true;
  const loss = marginRanking(scores, tensor(engine, Uint32Array.of(0)), { old: 2, hardest: 2, margin: 0.5 });
  compare(await loss.readFloats(), [0.4], NEAR, 'loss');
  compare(await grad(loss, [scores])[0]!.readFloats(), [-1, 0, 0.5, 0.5, 0], NEAR, 'gradient');
});

test('features that are all 0 have finite gradients', async () => {
  const x = tensor(engine, [0, 0, 3, 4], [2, 2]);
  x.requiresGrad = true;
  const y = normalizeRows(x);
  compare(await y.readFloats(), [0, 0, 0.6, 0.8], NEAR, 'values');
  const gradOutput = tensor(engine, [1, -2, 1, 1], [2, 2]);
  // (g − ŷ (ŷ · g)) / ‖x‖ where x is not 0.
  const want = [1e12, -2e12, (1 - 0.6 * 1.4) / 5, (1 - 0.8 * 1.4) / 5];
  compare(await grad(y, [x], { gradOutput })[0]!.readFloats(), want, NEAR, 'gradient');
  const forget = cosineDistance(relu(affine(x, 1, -3.5)), full(engine, [2, 2], 1));
  // Row 0 is 0 by the ReLU, row 1 is (0, 0.5): along its axis the cosine does not change.
  compare(await grad(forget, [x])[0]!.readFloats(), [0, 0, 0, 0], NEAR, 'through a ReLU');
});

test('imprinted weights point along the class means and are as long as the old weights', async () => {
  const features = tensor(engine, [3, 0, 0, 5, 1, 1], [3, 2]);
  const old = tensor(engine, [3, 4, 0, 1], [2, 2]);
  const weights = imprintedWeights(features, tensor(engine, Uint32Array.of(1, 1, 2)), 3, old);
  const r = 3 / Math.SQRT2;
  compare(await weights.readFloats(), [0, 0, r, r, r, r], NEAR, 'weights');
});

test('dropout: rates, scale, gradient by the same mask, evaluation, new masks in a captured program', async () => {
  const step = zeros(engine, [1], 'u32');
  const dropout = new Dropout(0.25, { seed: 3, stream: 7, step });
  const x = full(engine, [200, 100], 2);
  x.requiresGrad = true;
  const y = dropout.forward(x);
  const [values, gradient] = await Promise.all([y, grad(y, [x])[0]!].map((t) => t.readFloats()));
  const zeroed = values!.filter((v) => v === 0).length / values!.length;
  // Four standard deviations of a share of 20,000.
  assert.ok(Math.abs(zeroed - 0.25) < 4 * Math.sqrt((0.25 * 0.75) / 20_000), `${zeroed} are zero`);
  values!.forEach((v, i) => {
    assert.ok(v === 0 || Math.abs(v - 2 / 0.75) < 1e-6, `element ${i} is ${v}`);
    assert.is(gradient![i]! === 0, v === 0);
  });
  const program = engine.capture(() => dropout.forward(x));
  program.run();
  const first = await program.result.readFloats();
  assert.equal([...first], [...values!], 'the same step, the same mask');
  step.write([1]);
  program.run();
  const second = await program.result.readFloats();
  assert.ok(first.some((v, i) => v !== second[i]));
  program.dispose();
  dropout.train(false);
  assert.is(dropout.forward(x), x);
});

test('dropout in the trainer: a new mask each step, and the same ones after resuming', async () => {
  const same = { count: 8, classes: 2, labels: () => zeros(engine, [8], 'u32') };
  const samples = { ...same, inputs: () => full(engine, [8, 32], 1) };
  const make = (): Trainer => {
    const model = new Sequential([
      new Dropout(0.5, { seed: 5, stream: 9 }),
      new Linear(new Initializer(engine, 2), 32, 2),
    ]);
    // Nothing is learnt: only masks tell the steps apart.
    return new Trainer(model, samples, sgd(model.parameters(), { learningRate: 0 }), { batch: 8, seed: 1 });
  };
  const trainer = make();
  const start = [...(await trainer.run(3))];
  const state = await trainer.state();
  const rest = [...(await trainer.run(3))];
  assert.is(new Set([...start, ...rest]).size, 6, `losses ${start}, ${rest}`);
  const resumed = make();
  resumed.load(state);
  assert.equal([...(await resumed.run(3))], rest);
  for (const t of [trainer, resumed]) t.dispose();
});

test('feature distance; shapes and ranges are checked', async () => {
  const a = tensor(engine, [1, 2, 3, 4], [2, 2]);
  const b = tensor(engine, [1, 0, 0, 4], [2, 2]);
  compare(await featureDistance(a, b).readFloats(), [(4 + 9) / 2], NEAR, 'distance');
  await fails(() => featureDistance(a, zeros(engine, [2, 3])), 'SHAPE', /\[2, 3\]/);
  await fails(() => distillation(a, b, 0), 'ARGUMENT', /temperature/);
  await fails(() => smoothedCrossEntropy(a, zeros(engine, [2], 'u32'), 1), 'ARGUMENT', /smoothing/);
  await fails(
    () => marginRanking(a, zeros(engine, [2], 'u32'), { old: 1, hardest: 2 }),
    'ARGUMENT',
    /hardest is 2, must be a whole number from 1 to 1/,
  );
  const five = zeros(engine, [3, 5]);
  const one = zeros(engine, [1], 'u32');
  await fails(() => marginRanking(five, one, { old: 2 }), 'SHAPE', /labels: expected shape \[3\], got \[1\]/);
  await fails(() => new Dropout(0.5, { seed: 1 }).forward(a), 'ARGUMENT', /no step/);
  await fails(() => new Dropout(1, { seed: 1 }), 'ARGUMENT', /probability is 1/);
  await fails(() => softCrossEntropy(a, mul(zeros(engine, [2, 3]), 1)), 'SHAPE', /\[2, 3\]/);
});

test.run();
