// The training loop and what incremental learners need of it: objectives, turns, stopping anywhere, row lists; frozen
// copies and growing heads of networks.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AbortError, partialOf } from '../src/abort.ts';
import { ImageSamples } from '../src/data/image-samples.ts';
import { rowsOfClasses } from '../src/data/image-set.ts';
import { MODELS } from '../src/experiments/train/models.ts';
import { CosineLinear } from '../src/nn/cosine.ts';
import { Dropout } from '../src/nn/dropout.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear, Sequential } from '../src/nn/layers.ts';
import { softCrossEntropy } from '../src/nn/losses.ts';
import { frozenCopy, type Module } from '../src/nn/module.ts';
import { ResNet } from '../src/nn/resnet.ts';
import { mul, sub } from '../src/ops/binary.ts';
import { gather } from '../src/ops/gather.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { mean, sum } from '../src/ops/reduce.ts';
import { reshape } from '../src/ops/views.ts';
import { rmsprop, sgd } from '../src/optim/optimizer.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { evaluate } from '../src/train/evaluate.ts';
import { forAllSamples, rangeTensor } from '../src/train/features.ts';
import { TrainingLoop } from '../src/train/loop.ts';
import { softClassification } from '../src/train/objective.ts';
import { BatchOrder } from '../src/train/order.ts';
import { RowSamples } from '../src/train/samples.ts';
import { logStep, takeBatch } from '../src/train/step.ts';
import { Trainer, type TrainerOptions } from '../src/train/trainer.ts';
import { bars } from './support/bars.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const flat = (x: Tensor): Tensor => reshape(x, [x.shape[0]!, -1]);
test.after(closeEngine);

test('a network is evaluated without dropout, whatever its mode, which it keeps', async () => {
  const model = new Sequential([new Linear(new Initializer(engine, 2), 6, 3), new Dropout(0.9, { seed: 1 })]);
  const [x, y] = [randomNormal(engine, [40, 6], { seed: 3 }), zeros(engine, [40], 'u32')];
  const rows = {
    count: 40,
    classes: 3,
    inputs: (index: Tensor) => gather(x, index),
    labels: (index: Tensor) => gather(y, index),
  };
  model.train(false);
  const want = await evaluate(model, rows);
  model.train(true);
  assert.equal(await evaluate(model, rows), want);
  assert.is(model.training, true);
});

const images = bars(200, 1);
const samples = new ImageSamples(engine, images, { augmentation: { flip: 0.5 }, random: { seed: 4 } });

function training(options: Partial<TrainerOptions> = {}) {
  const model = MODELS.cnn!(new Initializer(engine, 1), [1, 8, 8], 4);
  const optimizer = sgd(model.parameters(), { learningRate: 0.05, momentum: 0.9 });
  const trainer = new Trainer(model, samples, optimizer, { batch: 16, seed: 3, ...options });
  const dispose = (): void => {
    for (const item of [trainer, optimizer, model]) item.dispose();
  };
  return { model, optimizer, trainer, dispose };
}

test('a run that is stopped anywhere and resumed gives the same bits', async () => {
  const rate = (step: number) => (step < 13 ? 0.05 : 0.02);
  const whole = training({ rate, emaDecay: 0.9 });
  const losses = await whole.trainer.run(40);
  const parts: number[] = [];
  let state = await training({ rate, emaDecay: 0.9 }).trainer.state();
  let stops = 0;
  while (state.step < 40) {
    const part = training({ rate, emaDecay: 0.9 });
    part.trainer.load(state);
    const stop = new AbortController();
    const work = part.trainer.run(40 - state.step, {
      signal: stop.signal,
      onProgress: (steps) => {
        if (steps >= 3) stop.abort();
      },
    });
    const done = await work.catch(partialOf<Float32Array>);
    assert.is(part.trainer.step, state.step + done.length);
    parts.push(...done);
    state = await part.trainer.state();
    stops++;
    part.dispose();
  }
  assert.ok(stops > 2, `stopped ${stops} times`);
  assert.equal(parts, [...losses]);
  assert.equal(state, await whole.trainer.state());
  whole.dispose();
});

test('a signal that is aborted already stops before the first step', async () => {
  const { trainer, dispose } = training();
  const error = await trainer.run(5, { signal: AbortSignal.abort() }).catch((error: unknown) => error);
  assert.instance(error, AbortError);
  assert.is(trainer.step, 0);
  dispose();
});

test('mini-batches follow the shuffled epochs across windows of the loop, and a given order', async () => {
  const n = 10;
  const batch = 3;
  // The loss is a code of the mini-batch, so that it shows which samples a step took.
  const codes = engine.keep(
    tensor(
      engine,
      Float32Array.from({ length: n }, (_, i) => i),
    ),
  );
  const weights = engine.keep(tensor(engine, [100, 10, 1]));
  const record = (buffers: TrainingLoop['buffers']): void => {
    const index = takeBatch(buffers.order, buffers.counter, batch);
    logStep(sum(mul(gather(codes, index), weights)), buffers.losses, buffers.counter);
  };
  const options = {
    samples: n,
    batch,
    random: { seed: 5, stream: 7 },
    record,
    nonFinite: (loss: number) => {
      throw new Error(`loss ${loss}`);
    },
  };
  const codeOf = (order: ArrayLike<number>, step: number): number =>
    100 * order[3 * step]! + 10 * order[3 * step + 1]! + order[3 * step + 2]!;
  const steps = 2500;
  const loop = new TrainingLoop(engine, options);
  const want = new BatchOrder(n, batch, options.random).take(0, steps);
  assert.equal(
    [...(await loop.run(steps))],
    Array.from({ length: steps }, (_, k) => codeOf(want, k)),
  );
  loop.dispose();
  const order = Uint32Array.from({ length: 30 }, (_, i) => (7 * i) % n);
  const given = new TrainingLoop(engine, { ...options, order });
  given.step = 4;
  assert.equal(
    [...(await given.run(5))],
    [4, 5, 6, 7, 8].map((k) => codeOf(order, k)),
  );
  given.dispose();
  codes.dispose();
  weights.dispose();
});

test('an error of the device or a loss that is not finite ends the run with it', async () => {
  const { trainer, dispose } = training({ name: 'phase 2', rate: (step) => (step < 20 ? 0.05 : 1e30) });
  await fails(
    () => trainer.run(60),
    'NON_FINITE',
    /phase 2: the loss is (NaN|Infinity) in epoch 2, step \d+/,
  );
  dispose();
});

test('optimisers take turns in one captured step', async () => {
  // x follows y, y goes to 1: each by an optimiser of its own, in this order.
  const [x, y] = [4, 0].map((value) => {
    const parameter = engine.keep(tensor(engine, [value]));
    parameter.requiresGrad = true;
    return parameter;
  }) as [Tensor, Tensor];
  const squared = (t: Tensor): Tensor => sum(mul(t, t));
  const one = engine.keep(tensor(engine, [1]));
  const lower = sgd([x], { learningRate: 0.25 });
  const upper = sgd([y], { learningRate: 0.25 });
  const model = { train: () => undefined, useStep: () => undefined } as unknown as Module;
  const trainer = new Trainer(model, samples, lower, {
    batch: 4,
    seed: 1,
    objective: () => squared(sub(x, y)),
    turns: [{ optimizer: upper, objective: () => squared(sub(y, one)), rate: (k) => (k === 0 ? 0.25 : 0.5) }],
  });
  assert.equal([...(await trainer.run(2))], [16, (2 - 0.5) ** 2]);
  assert.equal([...(await x.readFloats()), ...(await y.readFloats())], [2 - 0.75, 1]);
  for (const item of [trainer, lower, upper, one]) item.dispose();
});

test('a parameter that the objective does not reach is an error, or has a gradient of zero', async () => {
  const init = new Initializer(engine, 2);
  const [used, idle] = [new Linear(init, 64, 4), new Linear(init, 64, 4)];
  const optimizer = sgd([...used.parameters(), ...idle.parameters()], { learningRate: 0.1, momentum: 0.9 });
  const before = await idle.stateDict();
  const make = (materialize: boolean) =>
    new Trainer(used, samples, optimizer, {
      batch: 8,
      seed: 1,
      materialize,
      objective: ({ inputs, labels }) => crossEntropy(used.forward(flat(inputs)), labels),
    });
  await fails(() => make(false), 'NOT_DIFFERENTIABLE', /does not depend on input 2/);
  const trainer = make(true);
  await trainer.run(3);
  assert.equal(await idle.stateDict(), before);
  for (const item of [trainer, optimizer, used, idle]) item.dispose();
});

test('soft labels are an objective', async () => {
  const mixed = new ImageSamples(engine, images, { augmentation: { mixup: 0.2 }, random: { seed: 4 } });
  const model = MODELS.cnn!(new Initializer(engine, 1), [1, 8, 8], 4);
  const optimizer = rmsprop(model.parameters(), { learningRate: 1e-3 });
  const trainer = new Trainer(model, mixed, optimizer, {
    batch: 16,
    seed: 3,
    objective: softClassification(model, mixed, softCrossEntropy),
  });
  const losses = await trainer.run(60);
  assert.ok(losses.at(-1)! < losses[0]! * 0.8, `from ${losses[0]} to ${losses.at(-1)}`);
  for (const item of [trainer, optimizer, model, mixed]) item.dispose();
});

test('row lists: tasks and memories over resident samples, relabelled, with more than 256 classes', async () => {
  const { rows, labels } = rowsOfClasses(images, [3, 1]);
  const task = new RowSamples(engine, samples, rows, { labels, classes: 2 });
  assert.is(task.count, rows.length);
  const index = engine.keep(rangeTensor(engine, 2, 6));
  const same = engine.keep(tensor(engine, rows.slice(2, 6)));
  assert.equal(await task.inputs(index).readFloats(), await samples.inputs(same).readFloats());
  assert.equal(await task.labels(index).read(), labels.slice(2, 6));
  assert.ok([...task.hostLabels].every((label, i) => images.labels[rows[i]!] === [3, 1][label]));
  // A memory of some rows of the task, one of them twice, in a space of many classes.
  const memory = new RowSamples(engine, task, [4, 0, 4], { labels: [70_000, 300, 70_000], classes: 70_001 });
  assert.equal([...(await memory.labels(rangeTensor(engine, 0, 3)).read())], [70_000, 300, 70_000]);
  await fails(() => new RowSamples(engine, task, []), 'ARGUMENT', /empty/);
  await fails(() => new RowSamples(engine, task, [0, task.count]), 'ARGUMENT', /is not among/);
  await fails(() => new RowSamples(engine, task, [-1]), 'ARGUMENT', /is not among/);
  await fails(() => new RowSamples(engine, task, [0], { labels: [2] }), 'ARGUMENT', /label 2 is not below 2/);
  await fails(() => new RowSamples(engine, task, [0, 1], { labels: [1] }), 'SHAPE', /1 labels do not fit 2/);
  for (const item of [task, memory, index, same]) item.dispose();
});

test('a frozen copy is made on the device, has no parameters, and stays as it was', async () => {
  const make = () => new ResNet(new Initializer(engine, 9), 'resnet20', { channels: 1, classes: 4 });
  const model = make();
  const optimizer = sgd(model.parameters(), { learningRate: 0.05, momentum: 0.9 });
  const trainer = new Trainer(model, samples, optimizer, { batch: 8, seed: 1 });
  await trainer.run(3);
  const before = await model.stateDict();
  const copy = frozenCopy(model, make);
  assert.equal(copy.parameters(), []);
  assert.not.ok(copy.training);
  await trainer.run(3);
  assert.equal(await copy.stateDict(), before);
  const x = randomNormal(engine, [2, 1, 8, 8], { seed: 1 });
  model.loadStateDict(before);
  model.train(false);
  assert.equal(await copy.forward(x).readFloats(), await model.forward(x).readFloats());
  copy.freeze(false);
  assert.is(copy.parameters().length, model.parameters().length);
  assert.ok(copy.parameters().every((p) => p.requiresGrad));
  const other = new ResNet(new Initializer(engine, 9), 'resnet20', { channels: 1, classes: 5 });
  await fails(() => other.copyFrom(model), 'SHAPE', /fc.weight: is \[4, 64\], should be \[5, 64\]/);
  for (const item of [trainer, optimizer, model, copy, other]) item.dispose();
});

test('some parameters frozen: the others learn, these stay', async () => {
  const model = new ResNet(new Initializer(engine, 9), 'resnet20', { channels: 1, classes: 4 });
  model.conv1.freeze();
  const weight = await model.conv1.weight.readFloats();
  const optimizer = sgd(model.parameters(), { learningRate: 0.05 });
  const trainer = new Trainer(model, samples, optimizer, { batch: 8, seed: 1 });
  await trainer.run(2);
  assert.equal(await model.conv1.weight.readFloats(), weight);
  assert.ok((await model.bn1.weight.readFloats()).some((v) => v !== 1));
  model.freeze(false);
  assert.ok(model.conv1.weight.requiresGrad);
  for (const item of [trainer, optimizer, model]) item.dispose();
});

for (const [name, make] of [
  ['linear', (init: Initializer, n: number) => new Linear(init, 6, n)],
  ['cosine', (init: Initializer, n: number) => new CosineLinear(init, 6, n)],
] as const) {
  test(`a ${name} head grows by classes and keeps its rows`, async () => {
    const init = new Initializer(engine, 3);
    const head = make(init, 4);
    const x = randomNormal(engine, [5, 6], { seed: 2 });
    const before = await head.forward(x).readFloats();
    // Also after an optimiser has moved its parameters.
    const optimizer = sgd(head.parameters(), { learningRate: 0.1 });
    const grown = head.grow(init, 3);
    const after = await grown.forward(x).readFloats();
    assert.equal(after.length, 5 * 7);
    for (let row = 0; row < 5; row++) {
      assert.equal(after.slice(row * 7, row * 7 + 4), before.slice(row * 4, row * 4 + 4));
    }
    assert.ok((await grown.weight.readFloats()).slice(24).some((v) => v !== 0));
    assert.ok(grown.parameters().every((p) => p.requiresGrad));
    for (const item of [optimizer, head, grown]) item.dispose();
  });
}

test('a network whose head was grown learns the new classes', async () => {
  const init = new Initializer(engine, 1);
  const model = new ResNet(init, 'resnet20', { channels: 1, classes: 2 });
  const old = model.fc as Linear;
  model.fc = old.grow(init, 2);
  old.dispose();
  const optimizer = sgd(model.parameters(), { learningRate: 0.05, momentum: 0.9 });
  const trainer = new Trainer(model, samples, optimizer, { batch: 16, seed: 1 });
  const losses = await trainer.run(20);
  assert.ok(losses.at(-1)! < 0.7 * losses[0]!, `from ${losses[0]} to ${losses.at(-1)}`);
  for (const item of [trainer, optimizer, model]) item.dispose();
});

for (const [name, make] of Object.entries(MODELS).filter(([name]) => /cnn|20|18|50/.test(name))) {
  test(`features of ${name}: pooled and stages, and the classifier on them`, async () => {
    const model = make(new Initializer(engine, 1), [3, 32, 32], 10);
    model.train(false);
    const x = randomNormal(engine, [2, 3, 32, 32], { seed: 1 });
    const [scores, again, shapes] = engine.tidy(() => {
      const { pooled, stages } = model.features(x);
      assert.is(pooled.rank, 2);
      return [
        model.forward(x),
        model.classify(pooled),
        Object.values(stages).map(({ shape }) => shape[0]!),
      ] as const;
    });
    assert.equal(await scores.readFloats(), await again.readFloats());
    assert.ok(shapes.length > 1 && shapes.every((n) => n === 2));
    model.dispose();
  });
}

test('what a map makes of all samples, in chunks', async () => {
  const made = forAllSamples(engine, { count: 10_000, inputs: (index) => index }, (index) =>
    mean(flat(zeros(engine, [index.shape[0]!, 3])), 1),
  );
  assert.equal(made.shape, [10_000]);
  made.dispose();
  const whole = forAllSamples(engine, samples, flat);
  assert.equal(whole.shape, [200, 64]);
  assert.equal(
    Array.from((await whole.readFloats()).slice(64, 128), (v) => Math.round(v * 255)),
    [...images.images.subarray(64, 128)],
  );
  whole.dispose();
});

test.run();
