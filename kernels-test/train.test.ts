// The training loop: a ResNet as in PyTorch step by step, resuming, averages, evaluation, configs, and the command.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { readCifar } from '../src/data/cifar.ts';
import { ImageSamples } from '../src/data/image-samples.ts';
import { selectClasses } from '../src/data/image-set.ts';
import type { EliError } from '../src/errors.ts';
import { type TrainConfig, trainConfig } from '../src/experiments/train/config.ts';
import { loadImages } from '../src/experiments/train/data.ts';
import { SmallCnn } from '../src/experiments/train/models.ts';
import { train } from '../src/experiments/train/run.ts';
import { readSafetensors } from '../src/files/safetensors.ts';
import { Initializer } from '../src/nn/init.ts';
import type { StateDict } from '../src/nn/module.ts';
import { ResNet } from '../src/nn/resnet.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { evaluate } from '../src/train/evaluate.ts';
import { Trainer } from '../src/train/trainer.ts';
import { bars } from './support/bars.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const halfTest = engine.has('shader-f16') ? test : test.skip;
const root = mkdtempSync(join(tmpdir(), 'eli-train-'));
test.after(async () => {
  rmSync(root, { recursive: true });
  await closeEngine();
});

const path = (name: string): string => fileURLToPath(new URL(`../data/${name}`, import.meta.url));
const CLASSES = Array.from({ length: 20 }, (_, i) => 5 * i);
const sample = selectClasses(await readCifar([path('cifar100/train.bin')], 'cifar100'), CLASSES);

/** The numbers of support/resnet_trace.py. */
function hashed(name: string, count: number): Float64Array {
  let key = 2166136261;
  for (const byte of Buffer.from(name)) key = Math.imul(key ^ byte, 16777619) >>> 0;
  return Float64Array.from({ length: count }, (_, i) => {
    let h = (Math.imul(i, 2654435761) + key) >>> 0;
    h ^= h >>> 15;
    h = Math.imul(h, 2246822519);
    h ^= h >>> 13;
    return (h >>> 0) / 2 ** 31 - 1;
  });
}

test("ResNet-20's training loss falls as PyTorch's", async () => {
  const golden = JSON.parse(readFileSync(path('golden/resnet20_trace.json'), 'utf8')) as {
    losses64: number[];
    losses32: number[];
  };
  const model = new ResNet(new Initializer(engine, 1), 'resnet20', { classes: 20 });
  const state: StateDict = await model.stateDict();
  for (const [name, { shape, data }] of Object.entries(state)) {
    if (shape.length < 2) continue;
    const fan = shape.length === 4 ? shape[0]! * shape[2]! * shape[3]! : shape[1]!;
    const bound = Math.sqrt((shape.length === 4 ? 6 : 1) / fan);
    data.set(hashed(name, data.length).map((v) => v * bound));
  }
  state['fc.bias']!.data.fill(0);
  model.loadStateDict(state);
  const samples = new ImageSamples(engine, sample, { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] });
  const optimizer = sgd(model.parameters(), { learningRate: 0.002, momentum: 0.9, weightDecay: 5e-4 });
  const step = zeros(engine, [1], 'u32');
  const losses: number[] = [];
  const programs = [0, 20].map((first) =>
    engine.capture(() => {
      const index = tensorOf(first);
      const loss = crossEntropy(model.forward(samples.inputs(index)), samples.labels(index));
      optimizer.step(grad(loss, optimizer.flat.parameters));
      return loss;
    }),
  );
  for (let k = 0; k < golden.losses64.length; k++) {
    const program = programs[k % 2]!;
    program.run();
    losses.push((await program.result.readFloats())[0]!);
  }
  // Training amplifies rounding. PyTorch in float32 shows by how much: ours may be off by three times the largest
  // difference that it has had from float64 by then, and 1e-5.
  let largest = 0;
  golden.losses64.forEach((want, k) => {
    largest = Math.max(largest, Math.abs(golden.losses32[k]! - want));
    const error = Math.abs(losses[k]! - want);
    assert.ok(error <= 3 * largest + 1e-5, `step ${k}: loss ${losses[k]}, should be ${want} ± ${largest}`);
  });
  assert.ok(losses.at(-1)! < 0.7 * losses[0]!, `from ${losses[0]} to ${losses.at(-1)}`);
  for (const program of programs) program.dispose();
  optimizer.dispose();
  samples.dispose();
  step.dispose();
});

const indices = [0, 20].map((first) =>
  engine.keep(
    tensor(
      engine,
      Uint32Array.from({ length: 20 }, (_, i) => first + i),
    ),
  ),
);
const tensorOf = (first: number) => indices[first / 20]!;

const data = { train: bars(400, 1), test: bars(90, 2), source: 'bars' };
const config = trainConfig({ model: 'cnn', epochs: 4, batch: 32, learningRate: 0.05, weightDecay: 1e-3 });

async function runTo(name: string, part: Partial<TrainConfig>, stopAfter?: number, resume = false) {
  const folder = join(root, name);
  if (!resume) mkdirSync(folder);
  const stop = new AbortController();
  let epochs = 0;
  const progress = (label: string) => ({
    update() {},
    done() {
      if (label.startsWith('epoch') && ++epochs === stopAfter) stop.abort();
    },
  });
  const run = { folder, progress, signal: stop.signal, resume, pictures: false };
  return train(engine, { ...config, ...part }, data, run);
}
const bytes = (name: string, file: string): string => readFileSync(join(root, name, file)).toString('base64');

test('it learns; stopped and resumed, it ends with the same bits', async () => {
  const part: Partial<TrainConfig> = {
    // A crop would move the bar, which is the class.
    cutout: 2,
    mixup: 0.2,
    emaDecay: 0.9,
    clipNorm: 5,
    warmup: 1,
  };
  const whole = await runTo('whole', part);
  assert.ok(whole.test.top1 > 90, `test accuracy ${whole.test.top1} %`);
  assert.is(whole.points.length, 4);
  for (const after of [1, 3]) {
    const name = `stopped-${after}`;
    const error = await runTo(name, part, after).then(
      () => undefined,
      (e: unknown) => e as EliError,
    );
    assert.is(error?.code, 'ABORTED');
    await runTo(name, part, undefined, true);
    for (const file of ['metrics.json', 'model.safetensors', 'checkpoint.safetensors', 'log.jsonl']) {
      assert.is(bytes(name, file), bytes('whole', file), `${file}, stopped after epoch ${after}`);
    }
  }
  const weights = await readSafetensors(join(root, 'whole', 'model.safetensors'));
  assert.equal(Object.keys(weights.tensors).slice(0, 2), ['conv1.bias', 'conv1.weight']);
  await fails(
    () => runTo('whole', { ...part, learningRate: 0.01 }, undefined, true),
    'CONFIG',
    /learningRate was 0\.05, is now 0\.01/,
  );
});

halfTest('mixed precision too goes on with the same bits, and logs its loss scale', async () => {
  const part: Partial<TrainConfig> = { precision: 'mixed', epochs: 2, emaDecay: 0.9 };
  const { lossScaling, test: result } = await runTo('mixed', part);
  assert.ok(result.top1 > 60, `test accuracy ${result.top1} %`);
  await runTo('mixed-stopped', part, 1).catch((error: EliError) => assert.is(error.code, 'ABORTED'));
  await runTo('mixed-stopped', part, undefined, true);
  for (const file of ['metrics.json', 'model.safetensors', 'checkpoint.safetensors', 'log.jsonl']) {
    assert.is(bytes('mixed-stopped', file), bytes('mixed', file), file);
  }
  const last = readFileSync(join(root, 'mixed', 'log.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .at(-1)!;
  const { lossScale, skippedSteps } = JSON.parse(last);
  assert.equal({ scale: lossScale, skipped: skippedSteps }, lossScaling);
});

test('an average of the weights is what is evaluated and saved', async () => {
  // It moves so slowly that it stays at the initial weights, which guess among four classes.
  const slow = await runTo('slow-average', { emaDecay: 0.999999, epochs: 2 });
  const none = await runTo('no-average', { epochs: 2 });
  assert.ok(Math.abs(slow.test.loss - Math.log(4)) < 0.1, `not trained: ${slow.test.loss}`);
  assert.ok(none.test.loss < slow.test.loss - 0.2, `trained: ${none.test.loss}`);
  assert.is.not(bytes('slow-average', 'model.safetensors'), bytes('no-average', 'model.safetensors'));
});

test('patience ends a training that gets no better', async () => {
  const { points } = await runTo('patience', { epochs: 50, learningRate: 0, patience: 2 });
  assert.is(points.length, 3);
});

test('steps, losses and memory of a trainer; a loss that is not finite names its place', async () => {
  const samples = new ImageSamples(engine, data.train);
  const model = new SmallCnn(new Initializer(engine, 1), [1, 8, 8], 4);
  const optimizer = sgd(model.parameters(), { learningRate: 0.05, momentum: 0.9 });
  const trainer = new Trainer(model, samples, optimizer, { batch: 32, seed: 1 });
  assert.is(trainer.stepsPerEpoch, 12);
  const losses = await trainer.run(100);
  assert.is(losses.length, 100);
  assert.is(trainer.step, 100);
  assert.ok(losses.slice(-10).every((loss) => loss < losses[0]! / 2));
  const before = engine.memory.bytes;
  await trainer.run(200);
  assert.is(engine.memory.bytes, before, 'no more bytes after 200 further steps');
  const { parameters, step } = trainer.memory;
  assert.ok(step > parameters, `${step} bytes for activations`);
  optimizer.learningRate = 1e20;
  await fails(() => trainer.run(24), 'NON_FINITE', /in epoch 2[67], step \d+/);
  trainer.dispose();
  optimizer.dispose();
  await fails(
    () => new Trainer(model, samples, optimizer, { batch: 401, seed: 1 }),
    'CONFIG',
    /401 is larger than the 400/,
  );
  samples.dispose();
});

test('evaluation counts as one would', async () => {
  const samples = new ImageSamples(engine, data.test);
  const model = new SmallCnn(new Initializer(engine, 3), [1, 8, 8], 4);
  const index = tensor(
    engine,
    Uint32Array.from({ length: 90 }, (_, i) => i),
  );
  const logits = await model.forward(samples.inputs(index)).readFloats();
  const { top1, top5, loss, confusion } = await evaluate(model, samples, { batch: 32 });
  let [right, sum] = [0, 0];
  const counts = [0, 1, 2, 3].map(() => [0, 0, 0, 0]);
  data.test.labels.forEach((label, i) => {
    const row = [...logits.subarray(4 * i, 4 * i + 4)];
    const best = row.indexOf(Math.max(...row));
    if (best === label) right++;
    counts[label]![best]!++;
    sum -= Math.log(Math.exp(row[label]!) / row.reduce((a, v) => a + Math.exp(v), 0));
  });
  assert.is(top1, (100 * right) / 90);
  assert.is(top5, 100, 'of four classes the right one is among five');
  assert.ok(Math.abs(loss - sum / 90) < 1e-5);
  assert.equal(confusion, counts);
  assert.is(model.training, true, 'the mode is as before');
  samples.dispose();
});

test('wrong configs are refused, naming the key', async () => {
  const refuse = (part: Record<string, unknown>, ...patterns: RegExp[]) =>
    fails(() => trainConfig(part as Partial<TrainConfig>), 'CONFIG', ...patterns);
  await refuse({ rate: 1 }, /unknown config key rate/);
  await refuse({ model: 'vgg' }, /model is "vgg"/, /resnet20/);
  await refuse({ epochs: 0 }, /epochs is 0/);
  await refuse({ momentum: 1 }, /momentum is 1, must be a number from 0 to below 1/);
  await refuse({ schedule: 'multi-step', milestones: [5, 3] }, /milestones/);
  await refuse({ nesterov: 'yes' }, /nesterov/);
  await refuse({ precision: 'f16' }, /precision is "f16"/, /mixed/);
  await fails(() => loadImages('cifar10', undefined), 'CONFIG', /--dir/);
});

test('the command trains, draws, and says what is wrong', () => {
  const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
  const eli = (...flags: string[]) =>
    spawnSync(process.execPath, [cli, 'train', ...flags], { encoding: 'utf8', cwd: root });
  const flags = ['--data', 'cifar100', '--dir', path('cifar100'), '--epochs', '1', '--batch', '8'];
  const folder = join(root, 'command');
  const done = eli(...flags, '--model', 'cnn', '--out', folder);
  assert.is(done.status, 0, done.stderr);
  assert.match(done.stdout, /test accuracy .* %/);
  assert.match(done.stdout, /activations and the rest of a step/);
  for (const file of ['training.png', 'confusion.png', 'model.safetensors', 'metrics.json']) {
    assert.ok(existsSync(join(folder, file)), file);
  }
  const again = eli(...flags, '--out', folder);
  assert.is(again.status, 1);
  assert.match(again.stderr, /already holds files/);
  assert.match(eli('--data', 'cifar10').stderr, /--dir/);
  assert.is(eli('--bacth', '8').status, 2);
});

test.run();
