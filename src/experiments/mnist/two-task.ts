import { ImageSamples } from '../../data/image-samples.ts';
import { type ImageData, type ImageSet, rowsOfClasses } from '../../data/image-set.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { Linear } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import { type Features, Network } from '../../nn/network.ts';
import { crossEntropy } from '../../ops/loss.ts';
import { argmax } from '../../ops/reduce.ts';
import { relu } from '../../ops/unary.ts';
import { reshape } from '../../ops/views.ts';
import { type Optimizer, sgd } from '../../optim/optimizer.ts';
import { STREAM } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { forAllSamples } from '../../train/features.ts';
import { type LabelledSamples, RowSamples } from '../../train/samples.ts';
import { Trainer } from '../../train/trainer.ts';
import type { MnistConfig } from './config.ts';

/** Classes of each of the two tasks. */
export const CLASSES = 5;
/** Digits of the two tasks. */
export const FIRST = [0, 1, 2, 3, 4];
export const SECOND = [5, 6, 7, 8, 9];

/** The two tasks: lists of rows over the training and the test images, which lie on the device once. */
export class TwoTasks {
  readonly train1: RowSamples;
  readonly train2: RowSamples;
  readonly test1: RowSamples;
  readonly test2: RowSamples;
  /** Numbers of an image. */
  readonly pixels: number;
  readonly #images: readonly ImageSamples[];

  constructor(engine: Engine, { train, test }: Pick<ImageData, 'train' | 'test'>) {
    const images = { train: new ImageSamples(engine, train), test: new ImageSamples(engine, test) };
    const task = (samples: ImageSamples, set: ImageSet, digits: readonly number[]): RowSamples => {
      const { rows, labels } = rowsOfClasses(set, digits);
      return new RowSamples(engine, samples, rows, { labels, classes: digits.length });
    };
    this.train1 = task(images.train, train, FIRST);
    this.train2 = task(images.train, train, SECOND);
    this.test1 = task(images.test, test, FIRST);
    this.test2 = task(images.test, test, SECOND);
    this.pixels = train.height * train.width;
    this.#images = Object.values(images);
  }

  dispose(): void {
    for (const samples of [this.train1, this.train2, this.test1, this.test2, ...this.#images])
      samples.dispose();
  }
}

/** The experiment's network: latents z = base(x) of images x, logits head_k(ReLU(z)). */
export class TwoTaskNet extends Network {
  readonly base: Linear;
  readonly head1: Linear;
  readonly head2: Linear;

  constructor(init: Initializer, pixels: number, latent: number) {
    super();
    this.base = new Linear(init, pixels, latent);
    this.head1 = new Linear(init, latent, CLASSES);
    this.head2 = new Linear(init, latent, CLASSES);
  }

  override features(x: Tensor): Features {
    return { pooled: this.base.forward(flat(x)), stages: {} };
  }

  /** Logits of one of the two heads. */
  override classify(latents: Tensor, task: 1 | 2 = 1): Tensor {
    return classify(task === 1 ? this.head1 : this.head2, latents);
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

/** The network of a run, and its optimiser: one SGD over the base and head 1 for both tasks, its momentum kept. */
export function twoTaskModel(
  engine: Engine,
  config: MnistConfig,
  pixels: number,
): { readonly net: TwoTaskNet; readonly optimizer: Optimizer } {
  const net = new TwoTaskNet(new Initializer(engine, config.seed), pixels, config.latent);
  return { net, optimizer: sgd([...net.base.parameters(), ...net.head1.parameters()], config) };
}

/**
 * What trains the network on one of the tasks, as the original does: in task 2 head 2 stays at its random start, the base
 * alone learns, and head 1 drifts on the momentum left over, its gradient being zero.
 */
export function taskTrainer(
  net: TwoTaskNet,
  optimizer: Optimizer,
  task: 1 | 2,
  samples: LabelledSamples,
  { batch, seed }: MnistConfig,
): Trainer {
  return new Trainer(net, samples, optimizer, {
    name: `task ${task}`,
    batch,
    seed,
    stream: task === 1 ? STREAM.task1Order : STREAM.task2Order,
    objective: ({ inputs, labels }) => crossEntropy(net.classify(net.features(inputs).pooled, task), labels),
    materialize: true,
  });
}

/** Latents of all images of a task, [count, d], kept until disposed. */
export function latentsOf(base: Linear, samples: LabelledSamples): Tensor {
  return forAllSamples(base.weight.engine, samples, (images) => base.forward(flat(images)));
}

/**
 * Accuracy in % as the original takes it: the mean over batches of 128 in file order of the batch accuracies, the
 * last batch being smaller.
 */
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

/** A linear layer with the values `name.weight` and `name.bias` of a state. */
export function layerOf(engine: Engine, state: StateDict, name: string): Linear {
  const weight = state[`${name}.weight`]!;
  const layer = new Linear(new Initializer(engine, 0), weight.shape[1]!, weight.shape[0]!);
  layer.loadStateDict({ weight, bias: state[`${name}.bias`]! });
  return layer;
}
