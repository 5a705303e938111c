// The op that makes the first NaN or infinity is named, in forward and backward passes and in training.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear } from '../src/nn/layers.ts';
import { normalizeRows } from '../src/nn/losses.ts';
import { Module } from '../src/nn/module.ts';
import { div, mul, sub } from '../src/ops/binary.ts';
import { checkNumerics } from '../src/ops/check-numerics.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { matmul } from '../src/ops/matmul.ts';
import { batchNorm } from '../src/ops/norm.ts';
import { sum } from '../src/ops/reduce.ts';
import { logSumExp, softmax } from '../src/ops/softmax.ts';
import { relu, sqrt } from '../src/ops/unary.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { full, tensor, zeros } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { Trainer } from '../src/train/trainer.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

test('the first op is named, not those that it spoils', async () => {
  const x = tensor(engine, [1, 2, -3, 4], [2, 2]);
  const before = engine.memory.inUse;
  await fails(
    () =>
      checkNumerics(engine, () =>
        engine.tidy(() => {
          sum(mul(mul(relu(x), 1e30), 1e30));
        }),
      ),
    'NON_FINITE',
    /affine of \[2, 2\] made Infinity, first at element 0/,
  );
  assert.is(engine.memory.inUse, before, 'nothing is left');
  const fine = await checkNumerics(engine, () => sum(sqrt(relu(x))));
  assert.ok(Math.abs((await fine.item()) - (1 + Math.SQRT2 + 2)) < 1e-5);
});

test('backward passes are looked at', async () => {
  const x = zeros(engine, [3]);
  x.requiresGrad = true;
  // √0 is 0, its slope is not finite.
  await fails(() => checkNumerics(engine, () => grad(sqrt(x), [x])), 'NON_FINITE', /made (Infinity|NaN)/);
});

const row = (...values: number[]) => tensor(engine, values, [1, values.length]);

for (const [what, work, named] of [
  ['a norm beyond f32', () => normalizeRows(row(1e20, 1)), /mul of \[1, 2\], \[1, 2\] made Infinity/],
  [
    'a batch norm whose squares are beyond f32',
    () =>
      batchNorm(tensor(engine, [1e20, 1, 2, 3], [4, 1, 1, 1]), full(engine, [1], 1), full(engine, [1], 0)),
    /batchNorm of .* made NaN/,
  ],
  [
    'a label that is no class',
    () => crossEntropy(row(1, 2), tensor(engine, Uint32Array.of(2))),
    /crossEntropyRows of .* made NaN/,
  ],
  ['softmax over nothing but −∞', () => softmax(row(-Infinity, -Infinity)), /softmax of .* made NaN/],
  ['log-sum-exp of ∞', () => logSumExp(row(Infinity, 0)), /logSumExp of .* made (NaN|Infinity)/],
  ['a sum beyond f32', () => sum(row(3e38, 3e38)), /sum of \[1, 2\] made Infinity/],
  [
    'a product beyond f32',
    () => matmul(row(1e20, 1), full(engine, [2, 1], 1e20)),
    /matmul of .* made Infinity/,
  ],
] as const) {
  test(`${what} is named`, () => fails(() => checkNumerics(engine, work), 'NON_FINITE', named));
}

/** y / (y − y₀), which breaks once it has learnt y₀. */
class Breaks extends Module {
  readonly linear = new Linear(new Initializer(engine, 1), 1, 2);
  #calls = 0;

  forward(x: Tensor): Tensor {
    const y = this.linear.forward(x);
    return ++this.#calls < 3 ? y : div(y, sub(y, y));
  }
}

test('a training names the step', async () => {
  const model = new Breaks();
  const optimizer = sgd(model.parameters(), { learningRate: 0.1 });
  const samples = {
    count: 4,
    classes: 2,
    inputs: (index: Tensor) => zeros(engine, [index.size, 1]),
    labels: (index: Tensor) => zeros(engine, [index.size], 'u32'),
  };
  const trainer = new Trainer(model, samples, optimizer, { batch: 2, seed: 1, checkNumerics: true });
  const losses = await trainer.run(2);
  assert.ok(losses[1]! < losses[0]!, 'it trains');
  await fails(() => trainer.run(2), 'NON_FINITE', /step 3: div of \[2, 2\], \[2, 2\] made/);
  trainer.dispose();
  optimizer.dispose();
});

test.run();
