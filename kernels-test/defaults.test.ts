// The settings that the tables of the README and of docs/results.md were measured with: whoever changes one has to measure
// them again, and to change it here.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addAlign } from '../src/cli/align.ts';
import { NoveltyGate, SumGate, TransformGate } from '../src/eli/gates/all.ts';
import { gaussianSettings } from '../src/eli/gates/task-statistics.ts';
import { ALIGNER_DEFAULTS } from '../src/eli/options.ts';
import { alignerOptions, mnistConfig } from '../src/experiments/mnist/config.ts';
import { ENERGY_VARIANTS } from '../src/experiments/mnist/energies.ts';
import { accuracy, layerOf } from '../src/experiments/mnist/two-task.ts';
import { trainConfig } from '../src/experiments/train/config.ts';
import { adam, adamw, rmsprop, sgd } from '../src/optim/optimizer.ts';
import { full, tensor } from '../src/tensor/create.ts';
import { closeEngine, openEngine } from './support/engine.ts';

test.after(closeEngine);

/** The aligner of ELI's experiments (Joseph et al., 2022, section 3.3, and its code). */
const ALIGNER = {
  seed: 1,
  hidden: 64,
  layers: 1,
  slope: 0.2,
  iterations: 17_100,
  batch: 128,
  steps: 30,
  stepSize: 0.1,
  learningRate: 1e-4,
  alpha: 0.99,
  epsilon: 1e-8,
  emaDecay: 0.99,
  energyL2: 0,
  start: 'current',
  variant: 'auto',
};

test('an accuracy of the tables is the mean of those of batches of 128, the last of which is smaller', async () => {
  const engine = await openEngine();
  const weight = { shape: [2, 1], data: Float32Array.of(-1, 1) };
  const head = layerOf(
    engine,
    { 'x.weight': weight, 'x.bias': { shape: [2], data: new Float32Array(2) } },
    'x',
  );
  // Class 1 throughout: only the last of 129 samples is.
  const labels = Uint32Array.from({ length: 129 }, (_, i) => (i === 128 ? 1 : 0));
  assert.is(await accuracy(head, full(engine, [129, 1], 1), labels), 50);
});

test('an aligner, alone and in the MNIST experiment by the size of the latents', () => {
  assert.equal(ALIGNER_DEFAULTS, ALIGNER);
  assert.equal(alignerOptions(mnistConfig({})), ALIGNER);
  const large = { ...ALIGNER, iterations: 8_500, emaDecay: 0.89 };
  for (const latent of [512, 64, 2048]) assert.equal(alignerOptions(mnistConfig({ latent })), large);
});

test('the MNIST experiment', () => {
  const { learningRate: alignerLearningRate, ...others } = ALIGNER;
  const mnist = {
    ...others,
    alignerLearningRate,
    latent: 32,
    seeds: 1,
    epochs: 10,
    learningRate: 0.1,
    momentum: 0.9,
    curveEvery: 1_000,
    gateQuantile: 0.9,
    statisticsQuantile: 0.97,
  };
  assert.equal({ ...mnistConfig({}) }, mnist);
  assert.equal(
    { ...mnistConfig({ latent: 512 }) },
    { ...mnist, latent: 512, iterations: 8_500, emaDecay: 0.89 },
  );
});

test('gates of the report', () => {
  const gaussians = { of: 'inputs', dimensions: 50, covariance: 'class', shrinkage: 0.01 };
  assert.equal(gaussianSettings({}), gaussians);
  assert.equal(new NoveltyGate().settings, gaussians);
  assert.equal(new TransformGate().settings, {
    side: 28,
    pool: 2,
    hidden: [256, 64],
    steps: 3000,
    batch: 32,
    learningRate: 3e-3,
    seed: 1,
  });
  assert.is(new SumGate([new NoveltyGate()]).combine, 'fisher');
});

test('other energies', () => {
  assert.equal(Object.keys(ENERGY_VARIANTS), [
    ...['original', 'mean-shift', 'ridge', 'per-dimension', 'early-stop', 'ridge-alone'],
  ]);
});

test('`eli train`, by data and optimiser', () => {
  const common = {
    seed: 1,
    batch: 128,
    momentum: 0.9,
    nesterov: false,
    schedule: 'cosine',
    gamma: 0.1,
    warmup: 0,
    clipNorm: 0,
    labelSmoothing: 0,
    emaDecay: 0,
    cutout: 0,
    mixup: 0,
    patience: 0,
    precision: 'f32',
  };
  const sgdRates = { optimizer: 'sgd', learningRate: 0.1, weightDecay: 5e-4 };
  const small = { model: 'cnn', augment: 'none', epochs: 5, milestones: [2, 3] };
  const cifar = { model: 'resnet20', augment: 'crop-flip', epochs: 100, milestones: [50, 75] };
  for (const data of ['mnist', 'fashion-mnist'] as const)
    assert.equal({ ...trainConfig({ data }) }, { ...common, ...sgdRates, ...small, data });
  for (const data of ['cifar10', 'cifar100'] as const)
    assert.equal({ ...trainConfig({ data }) }, { ...common, ...sgdRates, ...cifar, data });
  assert.equal(
    { ...trainConfig({ optimizer: 'adamw' }) },
    { ...common, ...small, data: 'mnist', optimizer: 'adamw', learningRate: 0.001, weightDecay: 0.01 },
  );
});

test('`eli align gate`', () => {
  const program = new Command();
  addAlign(program);
  const gate = program.commands[0]!.commands.find((command) => command.name() === 'gate')!;
  const { quantile, seed, kind } = gate.opts();
  assert.equal({ quantile, seed, kind }, { quantile: 0.95, seed: 1, kind: 'energy' });
});

// Two steps from 1, with gradients 1 and −0.5.
test('rules of optimisation have the defaults of PyTorch', async () => {
  const engine = await openEngine();
  const [g1, g2] = [1, -0.5];
  const hat = (v: number, beta: number, t: number): number => v / (1 - beta ** t);
  const adamSteps = (decay: number): number => {
    let [x, m, s] = [1, 0, 0];
    for (const [t, g] of [g1, g2].entries()) {
      m = 0.9 * m + 0.1 * g;
      s = 0.999 * s + 0.001 * g * g;
      x = x * (1 - 0.1 * decay) - (0.1 * hat(m, 0.9, t + 1)) / (Math.sqrt(hat(s, 0.999, t + 1)) + 1e-8);
    }
    return x;
  };
  const squares = [0.01 * g1 ** 2, 0.99 * 0.01 * g1 ** 2 + 0.01 * g2 ** 2] as const;
  const want = {
    sgd: 1 - 0.1 * (g1 + g2),
    rmsprop: 1 - (0.1 * g1) / Math.sqrt(squares[0]) - (0.1 * g2) / Math.sqrt(squares[1]),
    adam: adamSteps(0),
    adamw: adamSteps(0.01),
  };
  for (const [name, rule] of Object.entries({ sgd, rmsprop, adam, adamw })) {
    const x = engine.keep(tensor(engine, [1]));
    x.requiresGrad = true;
    const optimizer = rule([x], { learningRate: 0.1 });
    for (const g of [g1, g2]) optimizer.step([tensor(engine, [g])]);
    const [got] = await x.readFloats();
    assert.ok(Math.abs(got! - want[name as keyof typeof want]) < 2e-6, `${name}: ${got}`);
    optimizer.dispose();
  }
});

test('the README says how many iterations an aligner takes', () => {
  const page = readFileSync(fileURLToPath(new URL('../README.md', import.meta.url)), 'utf8');
  assert.match(page, /d = 32, 17,100 iterations/);
  assert.match(page, /d = 512, 8,500 iterations/);
});

test.run();
