import { ImageSamples } from '../../data/image-samples.ts';
import { type ImageData, rowsOfClasses } from '../../data/image-set.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { Linear } from '../../nn/layers.ts';
import { Module, type StateDict } from '../../nn/module.ts';
import { crossEntropy } from '../../ops/loss.ts';
import { argmax } from '../../ops/reduce.ts';
import { relu } from '../../ops/unary.ts';
import { reshape } from '../../ops/views.ts';
import { type Optimizer, sgd } from '../../optim/optimizer.ts';
import type { Scope } from '../../tensor/scope.ts';
import { STREAM } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { forAllSamples } from '../../train/features.ts';
import { type LabelledSamples, RowSamples } from '../../train/samples.ts';
import { Trainer } from '../../train/trainer.ts';
import type { MnistConfig } from './config.ts';

/** Classes of each of the two tasks. */
const CLASSES = 5;
/** Digits of the two tasks. */
const DIGITS = [
  [0, 1, 2, 3, 4],
  [5, 6, 7, 8, 9],
] as const;

/** The two tasks as lists of rows over the training and test images, which are on the device only once; `scope` owns all. */
export function twoTasks(engine: Engine, { train, test }: Pick<ImageData, 'train' | 'test'>, scope: Scope) {
  const images = [train, test].map((set) => ({ set, all: scope.add(new ImageSamples(engine, set)) }));
  const samples = images.flatMap(({ set, all }) =>
    DIGITS.map((digits) => {
      const { rows, labels } = rowsOfClasses(set, digits);
      return scope.add(new RowSamples(engine, all, rows, { labels, classes: CLASSES }));
    }),
  );
  const [train1, train2, test1, test2] = samples as [RowSamples, RowSamples, RowSamples, RowSamples];
  return { train1, train2, test1, test2, pixels: train.height * train.width };
}
export type TwoTasks = ReturnType<typeof twoTasks>;

/** The experiment's network: latents z = base(x) of images x, logits head_k(ReLU(z)). */
export class TwoTaskNet extends Module {
  readonly base: Linear;
  readonly head1: Linear;
  readonly head2: Linear;

  constructor(init: Initializer, pixels: number, latent: number) {
    super();
    this.base = new Linear(init, pixels, latent);
    this.head1 = new Linear(init, latent, CLASSES);
    this.head2 = new Linear(init, latent, CLASSES);
  }

  /** Latents [n, d] of images [n, …], for `classify` with one of the heads. */
  override forward(images: Tensor): Tensor {
    return this.base.forward(flat(images));
  }
}

/** Images [n, …] as rows [n, pixels]. */
export function flat(images: Tensor): Tensor {
  return reshape(images, [images.shape[0]!, -1]);
}

/** Logits [n, classes] of a head on latents [n, d]. */
export function classify(head: Linear, latents: Tensor): Tensor {
  return head.forward(relu(latents));
}

/** The network of a run and its optimiser: one SGD over the base and head 1, which keeps its momentum between the tasks. */
export function twoTaskModel(engine: Engine, config: MnistConfig, pixels: number) {
  const net = new TwoTaskNet(new Initializer(engine, config.seed), pixels, config.latent);
  return { net, optimizer: sgd([...net.base.parameters(), ...net.head1.parameters()], config) };
}

/**
 * Trains the network on one of the tasks, as the original does: in task 2, head 2 stays at its random initialisation, only
 * the base learns, and head 1, whose gradient is zero, drifts on its remaining momentum.
 */
export function taskTrainer(
  net: TwoTaskNet,
  optimizer: Optimizer,
  task: 1 | 2,
  samples: LabelledSamples,
  { batch, seed }: MnistConfig,
): Trainer {
  const head = task === 1 ? net.head1 : net.head2;
  return new Trainer(net, samples, optimizer, {
    name: `task ${task}`,
    batch,
    seed,
    stream: task === 1 ? STREAM.task1Order : STREAM.task2Order,
    objective: ({ inputs, labels }) => crossEntropy(classify(head, net.forward(inputs)), labels),
    materialize: true,
  });
}

/** Latents of all images of a task, [count, d], kept until disposed. */
export function latentsOf(base: Linear, samples: LabelledSamples): Tensor {
  return forAllSamples(base.weight.engine, samples, (images) => base.forward(flat(images)));
}

/** Accuracy in % as in the original: the mean accuracy of batches of 128 in file order, of which the last is smaller. */
export async function accuracy(head: Linear, latents: Tensor, labels: ArrayLike<number>): Promise<number> {
  const best = latents.engine.tidy(() => argmax(classify(head, latents)));
  const predicted = await best.read();
  best.dispose();
  const batches: number[] = [];
  for (let first = 0; first < labels.length; first += 128) {
    const end = Math.min(first + 128, labels.length);
    let right = 0;
    for (let i = first; i < end; i++) if (predicted[i] === labels[i]) right++;
    batches.push(right / (end - first));
  }
  return (100 * batches.reduce((a, b) => a + b, 0)) / batches.length;
}

/** A linear layer with `name.weight` and `name.bias` of a state. */
export function layerOf(engine: Engine, state: StateDict, name: string): Linear {
  const weight = state[`${name}.weight`]!;
  const layer = new Linear(new Initializer(engine, 0), weight.shape[1]!, weight.shape[0]!);
  layer.loadStateDict({ weight, bias: state[`${name}.bias`]! });
  return layer;
}
