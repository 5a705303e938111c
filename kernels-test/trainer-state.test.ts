// What a trainer saves is everything that its next steps depend on: with each rule, each turn, and the moving average.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ImageSamples } from '../src/data/image-samples.ts';
import { Initializer } from '../src/nn/init.ts';
import { Activation, Linear, Sequential } from '../src/nn/layers.ts';
import type { Module } from '../src/nn/module.ts';
import { mul, sub } from '../src/ops/binary.ts';
import { sum } from '../src/ops/reduce.ts';
import { reshape } from '../src/ops/views.ts';
import { adam, adamw, rmsprop, sgd } from '../src/optim/optimizer.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { BatchOrder } from '../src/train/order.ts';
import { Trainer, type TrainerOptions, type TrainerState } from '../src/train/trainer.ts';
import { bars } from './support/bars.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const samples = new ImageSamples(engine, bars(100, 1), {
  augmentation: { flip: 0.5 },
  random: { seed: 4 },
});
const flat = new Activation((x) => reshape(x, [x.shape[0]!, -1]));

const RULES = {
  sgd: (model: Module) => sgd(model.parameters(), { learningRate: 0.05, momentum: 0.9 }),
  rmsprop: (model: Module) => rmsprop(model.parameters(), { learningRate: 1e-3, momentum: 0.5 }),
  adam: (model: Module) => adam(model.parameters(), { learningRate: 1e-3 }),
  adamw: (model: Module) => adamw(model.parameters(), { learningRate: 1e-3 }),
};

function training(rule: keyof typeof RULES) {
  const model = new Sequential([flat, new Linear(new Initializer(engine, 1), 64, 4)]);
  const optimizer = RULES[rule](model);
  const rate = (step: number): number => (step < 7 ? 2e-3 : 1e-3);
  const trainer = new Trainer(model, samples, optimizer, { batch: 16, seed: 3, rate, emaDecay: 0.9 });
  const dispose = (): void => {
    for (const item of [trainer, optimizer, model]) item.dispose();
  };
  return { trainer, dispose };
}

for (const rule of Object.keys(RULES) as (keyof typeof RULES)[]) {
  test(`${rule}: stopped and resumed in a new trainer, it ends with the same bits`, async () => {
    const whole = training(rule);
    const losses = await whole.trainer.run(20);
    let state: TrainerState | undefined;
    const parts: number[] = [];
    // Once where the rate changes: to what a new Adam begins with, so that the saved rate has to be known to be another.
    for (const steps of [5, 2, 13]) {
      const part = training(rule);
      if (state !== undefined) part.trainer.load(state);
      parts.push(...(await part.trainer.run(steps)));
      state = await part.trainer.state();
      part.dispose();
    }
    assert.equal(parts, [...losses]);
    assert.equal(state, await whole.trainer.state());
    whole.dispose();
  });

  test(`${rule}: a state without one of its parts is refused`, async () => {
    const { trainer, dispose } = training(rule);
    const state = await trainer.state();
    for (const name of ['momentum', 'squares', 'hyper', 'average']) {
      const { [name]: _, ...optimizer } = state.optimizer;
      await fails(
        () => trainer.load({ ...state, optimizer }),
        'SHAPE',
        new RegExp(`${name} has \\d+ numbers, the saved state none`),
      );
    }
    dispose();
  });
}

/** Parameters that are no network's, each with one value. */
const parametersOf = (...values: number[]): Tensor[] =>
  values.map((value) => {
    const parameter = engine.keep(tensor(engine, [value]));
    parameter.requiresGrad = true;
    return parameter;
  });
const noModel = {
  train() {},
  useStep() {},
  loadStateDict() {},
  stateDict: async () => ({}),
} as unknown as Module;
const squared = (t: Tensor): Tensor => sum(mul(t, t));
const common: Pick<TrainerOptions, 'batch' | 'seed'> = { batch: 4, seed: 1 };

test('the state of each turn is saved and restored too', async () => {
  const make = () => {
    const [x, y] = parametersOf(4, 0) as [Tensor, Tensor];
    const [lower, upper] = [adam([x], { learningRate: 0.1 }), adam([y], { learningRate: 0.2 })];
    const turns = [{ optimizer: upper, objective: () => squared(sub(y, x)) }];
    const trainer = new Trainer(noModel, samples, lower, {
      ...common,
      objective: () => squared(sub(x, y)),
      turns,
    });
    return { x, y, trainer };
  };
  const [first, second] = [make(), make()];
  await first.trainer.run(3);
  const middle = await first.trainer.state();
  // The model holds the parameters; there is none here.
  for (const name of ['x', 'y'] as const) second[name].write(await first[name].readFloats());
  second.trainer.load(middle);
  assert.equal(await second.trainer.run(4), await first.trainer.run(4));
  assert.equal(await second.trainer.state(), await first.trainer.state());
});

test('the moving average takes in the parameters as they are after the step', async () => {
  const [parameter] = parametersOf(4) as [Tensor];
  const optimizer = sgd([parameter], { learningRate: 0.5 });
  const trainer = new Trainer(noModel, samples, optimizer, {
    ...common,
    objective: () => sum(parameter),
    emaDecay: 0.75,
  });
  const average = async (): Promise<number> => (await trainer.ema!.average.readFloats())[0]!;
  // Each step takes 0.5 off the parameter, from 4 on.
  await trainer.run(1);
  assert.is(await average(), 0.75 * 4 + 0.25 * 3.5);
  await trainer.run(1);
  assert.is(await average(), 0.75 * 3.875 + 0.25 * 3);
  const inside = await trainer.ema!.during(async () => (await parameter.readFloats())[0]);
  assert.is(inside, 3.65625);
  assert.is((await parameter.readFloats())[0], 3);
  for (const item of [trainer, optimizer]) item.dispose();
});

test('an infinite loss ends a run at its step, also the only one', async () => {
  const [parameter] = parametersOf(4) as [Tensor];
  const optimizer = sgd([parameter], { learningRate: 0.5 });
  const objective = () => mul(sum(parameter), Number.POSITIVE_INFINITY);
  const trainer = new Trainer(noModel, samples, optimizer, { ...common, objective });
  await fails(() => trainer.run(1), 'NON_FINITE', /the loss is Infinity in epoch 1, step 1/);
  for (const item of [trainer, optimizer]) item.dispose();
});

test('each epoch takes every sample once but for the last incomplete mini-batch, in a new order', () => {
  const order = new BatchOrder(10, 3, { seed: 5, stream: 7 });
  assert.is(order.batchesPerEpoch, 3);
  const epochs = [0, 1, 2].map((epoch) => [...order.take(3 * epoch, 3)]);
  for (const epoch of epochs) {
    assert.is(epoch.length, 9);
    assert.is(new Set(epoch).size, 9);
    assert.ok(Math.max(...epoch) < 10);
  }
  assert.is(new Set(epochs.map((epoch) => epoch.join())).size, 3);
  assert.equal([...order.take(0, 9)], epochs.flat());
});

test.run();
