import { grad } from '../autograd/tape.ts';
import { EnergyModel } from '../ebm/energy-model.ts';
import { sample } from '../ebm/sample.ts';
import { gradientDescent } from '../ebm/unadjusted.ts';
import { EnergyAligner } from '../eli/aligner.ts';
import type { Engine } from '../gpu/engine.ts';
import { Initializer } from '../nn/init.ts';
import { Linear } from '../nn/layers.ts';
import { ResNet } from '../nn/resnet.ts';
import { conv2d } from '../ops/conv.ts';
import { gather } from '../ops/gather.ts';
import { crossEntropy } from '../ops/loss.ts';
import { relu } from '../ops/unary.ts';
import { adam, sgd } from '../optim/optimizer.ts';
import { tensor, zeros } from '../tensor/create.ts';
import { randomNormal } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { BatchOrder } from '../train/order.ts';
import { logStep, takeBatch } from '../train/step.ts';
import { OVERHEAD_WORKLOADS } from './overhead.ts';
import { captured, type Workload } from './workload.ts';

/** Labels 0 … k − 1 in turn, [n]. */
const labelsOf = (engine: Engine, n: number, k: number): Tensor =>
  tensor(
    engine,
    Uint32Array.from({ length: n }, (_, i) => i % k),
  );

const step784: Workload = {
  name: 'training: MLP 784-32-5, batch 128',
  unit: 'steps',
  prepare: (engine) => {
    const init = new Initializer(engine, 1);
    const layers = [new Linear(init, 784, 32), new Linear(init, 32, 5)] as const;
    const parameters = layers.flatMap((layer) => layer.parameters());
    const optimizer = sgd(parameters, { learningRate: 0.1, momentum: 0.9 });
    const images = randomNormal(engine, [12_800, 784], { seed: 2 });
    const labels = labelsOf(engine, 12_800, 5);
    const order = tensor(engine, new BatchOrder(12_800, 128, { seed: 3, stream: 0 }).take(0, 100));
    const counter = zeros(engine, [1], 'u32');
    const losses = zeros(engine, [100]);
    const step = (): void => {
      const index = takeBatch(order, counter, 128);
      const logits = layers[1].forward(relu(layers[0].forward(gather(images, index))));
      const loss = crossEntropy(logits, gather(labels, index));
      optimizer.step(grad(loss, parameters));
      logStep(loss, losses, counter);
    };
    return captured(engine, step, [optimizer, images, labels, order, counter, losses]);
  },
};

const resnet: Workload = {
  name: 'training: ResNet-20, batch 16, 32×32',
  unit: 'steps',
  prepare: (engine) => {
    const model = new ResNet(new Initializer(engine, 1), 'resnet20', { classes: 10 });
    const optimizer = sgd(model.parameters(), { learningRate: 0.1, momentum: 0.9 });
    const images = randomNormal(engine, [16, 3, 32, 32], { seed: 1 });
    const labels = labelsOf(engine, 16, 10);
    const step = (): void => {
      const loss = crossEntropy(model.forward(images), labels);
      optimizer.step(grad(loss, optimizer.flat.parameters));
    };
    return captured(engine, step, [optimizer, model, images, labels]);
  },
};

/** Forward and both gradients. */
const convolution = (n: number, c: number, size: number, o: number): Workload => ({
  name: `conv: 3×3 forward + backward, ${n}×${c}×${size}×${size} → ${o}`,
  prepare: (engine) => {
    const x = randomNormal(engine, [n, c, size, size], { seed: 1 });
    const w = randomNormal(engine, [o, c, 3, 3], { seed: 2 });
    const dy = randomNormal(engine, [n, o, size, size], { seed: 3 });
    x.requiresGrad = true;
    w.requiresGrad = true;
    const both = () => grad(conv2d(x, w, undefined, { padding: 1 }), [x, w], { gradOutput: dy });
    return { ...captured(engine, both, [x, w, dy]), flops: 3 * 2 * n * o * size ** 2 * c * 9 };
  },
});

const optimizerStep: Workload = {
  name: 'optimizer: Adam, 1,048,576 parameters',
  unit: 'steps',
  prepare: (engine) => {
    const n = 1 << 20;
    const gradient = randomNormal(engine, [n], { seed: 2 });
    const optimizer = adam([randomNormal(engine, [n], { seed: 1 })], { learningRate: 1e-3 });
    return {
      ...captured(engine, () => optimizer.step([gradient]), [optimizer, gradient]),
      // Packing reads and writes the gradient; the step reads it, p, m and v, and writes the last three.
      bytes: 4 * n * 9,
    };
  },
};

const sampler = (latent: number): Workload => ({
  name: `sampler: Langevin, 30 steps, d = ${latent}, 1,024 chains`,
  unit: 'chains of 30 steps',
  prepare: (engine) => {
    const model = new EnergyModel(new Initializer(engine, 1), { latent, hidden: 64, layers: 1, slope: 0.2 });
    const start = randomNormal(engine, [1024, latent], { seed: 2 });
    const chains = () => sample(model, start, gradientDescent({ stepSize: 0.1 }), { steps: 30 });
    return captured(engine, chains, [model, start]);
  },
});

/** A complete fit, including what precedes its first iteration. */
const aligner = (latent: number, layers = 1): Workload => ({
  name: `aligner: iteration, d = ${latent}, ${layers > 1 ? `${layers} hidden layers, ` : ''}batch 128, 30 steps`,
  unit: 'iterations',
  prepare: (engine) => {
    // As many as MNIST's second task has, if they fit into 2 ** 24 numbers.
    const rows = Math.min(29_404, 2 ** 24 / latent);
    const previous = randomNormal(engine, [rows, latent], { seed: 1 });
    const current = randomNormal(engine, [rows, latent], { seed: 2 }, 0.3, 1.04);
    return {
      times: 200,
      run: async (iterations) => {
        const pairs = { previous, current };
        (await EnergyAligner.fit(engine, pairs, { iterations, layers }, { every: iterations })).dispose();
      },
      dispose: () => {
        for (const latents of [previous, current]) latents.dispose();
      },
    };
  },
});

/** What users run, besides the single ops. */
export const NAMED_WORKLOADS: readonly Workload[] = [
  convolution(32, 16, 32, 16),
  convolution(32, 64, 8, 64),
  step784,
  resnet,
  optimizerStep,
  sampler(32),
  sampler(512),
  aligner(32),
  aligner(64),
  aligner(64, 2),
  aligner(512),
  aligner(2048),
  ...OVERHEAD_WORKLOADS,
];
