// A training step of ResNet-32 (He et al., CVPR 2016, option A) on images of 32 × 32: cross-entropy, SGD.
import {
  crossEntropy,
  type Engine,
  grad,
  Initializer,
  ResNet,
  randomNormal,
  sgd,
  tensor,
} from '../../src/index.ts';
import type { Contender } from './compare.mts';
import { OURS } from './libraries.mts';

const CLASSES = 100;
const SGD = { learningRate: 0.1, momentum: 0.9, weightDecay: 1e-4 };

const modelOf = (engine: Engine): ResNet =>
  new ResNet(new Initializer(engine, 1), 'resnet32', { classes: CLASSES });

/** A mini-batch, and how PyTorch learns from it, starting with our weights. */
export async function resnetProblem(engine: Engine, batch: number) {
  const images = await randomNormal(engine, [batch, 3, 32, 32], { seed: 2 }).readFloats();
  const labels = Uint32Array.from({ length: batch }, (_, i) => i % CLASSES);
  const model = modelOf(engine);
  const weights = await model.stateDict();
  model.dispose();
  const inputs = {
    ...weights,
    images: { data: images, shape: [batch, 3, 32, 32] },
    labels: { data: Float32Array.from(labels), shape: [batch] },
  };
  const { learningRate: lr, momentum, weightDecay: weight_decay } = SGD;
  const options = { blocks: 5, classes: CLASSES, sgd: { lr, momentum, weight_decay } };
  return { batch, images, labels, torch: { task: 'resnet', options, inputs } };
}

export function resnetOurs(
  engine: Engine,
  { batch, images, labels }: Awaited<ReturnType<typeof resnetProblem>>,
): Contender {
  const make = () => {
    const model = modelOf(engine);
    const optimizer = sgd(model.parameters(), SGD);
    const x = tensor(engine, images, [batch, 3, 32, 32]);
    const y = tensor(engine, labels);
    const program = engine.capture(() => {
      const loss = crossEntropy(model.forward(x), y);
      optimizer.step(grad(loss, optimizer.flat.parameters));
    });
    return { model, program };
  };
  const { program } = make();
  return {
    library: OURS,
    run: async (times) => {
      program.run(times);
      await engine.sync();
    },
    result: async () => {
      const { model, program } = make();
      const read = () => Promise.all(model.parameters().map((p) => p.readFloats()));
      const before = await read();
      program.run();
      const after = await read();
      program.dispose();
      return after.map((values, k) => values.map((value, i) => value - before[k]![i]!));
    },
  };
}
