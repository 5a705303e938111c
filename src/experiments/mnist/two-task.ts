import { grad } from '../../autograd/tape.ts';
import type { DigitSet } from '../../data/image-set.ts';
import { EliError } from '../../errors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { Linear } from '../../nn/layers.ts';
import { Module, type StateDict } from '../../nn/module.ts';
import { gather, gatherBytes } from '../../ops/gather.ts';
import { crossEntropy } from '../../ops/loss.ts';
import { argmax } from '../../ops/reduce.ts';
import { relu } from '../../ops/unary.ts';
import { copyInto } from '../../ops/views.ts';
import { type Optimizer, sgd } from '../../optim/optimizer.ts';
import { empty, tensor, zeros } from '../../tensor/create.ts';
import { STREAM } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { BatchOrder } from '../../train/order.ts';
import { logStep, takeBatch } from '../../train/step.ts';
import type { MnistConfig } from './config.ts';

/** Classes of each of the two tasks. */
export const CLASSES = 5;
/** Digits of the two tasks. */
export const FIRST = [0, 1, 2, 3, 4];
export const SECOND = [5, 6, 7, 8, 9];

/** Images (bytes, packed) and labels of a task on the device. */
export class TaskData {
  readonly count: number;
  readonly pixels: number;
  readonly images: Tensor;
  readonly labels: Tensor;
  /** The labels on the CPU. */
  readonly targets: Uint8Array;

  constructor(engine: Engine, set: DigitSet) {
    this.count = set.count;
    this.pixels = set.rows * set.cols;
    this.targets = set.labels;
    const words = new Uint32Array(Math.ceil(set.images.length / 4));
    new Uint8Array(words.buffer).set(set.images);
    this.images = engine.keep(tensor(engine, words));
    this.labels = engine.keep(tensor(engine, Uint32Array.from(set.labels)));
  }

  /** Rows as f32 pixels from 0 to 1: index [n] (u32) → [n, pixels]. */
  batch(index: Tensor): Tensor {
    return gatherBytes(this.images, index, this.pixels, this.count, 1 / 255);
  }

  dispose(): void {
    this.images.dispose();
    this.labels.dispose();
  }
}

/** The experiment's network: latents z = base(x), logits head_k(ReLU(z)). */
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

  forward(x: Tensor): Tensor {
    return this.base.forward(x);
  }
}

/** Logits [n, classes] of a head on latents [n, d]. */
export function classify(head: Linear, latents: Tensor): Tensor {
  return head.forward(relu(latents));
}

/** State of the classifier's training that a checkpoint holds. */
export interface ClassifierState {
  readonly net: StateDict;
  readonly momentum: { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> };
}

/**
 * Trains the classifier on one task after the other as the original does: one SGD over the base and head 1 for both
 * tasks, its momentum kept. In task 2 head 2 stays at its random start, the base alone learns, and head 1 drifts on
 * the momentum left over, its gradient being zero.
 */
export class ClassifierTrainer {
  readonly net: TwoTaskNet;
  readonly #engine: Engine;
  readonly #config: MnistConfig;
  readonly #optimizer: Optimizer;

  constructor(engine: Engine, config: MnistConfig, pixels: number) {
    this.#engine = engine;
    this.#config = config;
    this.net = new TwoTaskNet(new Initializer(engine, config.seed), pixels, config.latent);
    this.#optimizer = sgd([...this.net.base.parameters(), ...this.net.head1.parameters()], config);
  }

  /**
   * Trains epochs `from` … `config.epochs − 1` of a task; `onEpoch` gets the mean loss after each.
   * @throws EliError `NON_FINITE` naming task, epoch and step.
   */
  async train(
    task: 1 | 2,
    data: TaskData,
    from: number,
    onEpoch: (epoch: number, loss: number) => void | Promise<void>,
  ): Promise<void> {
    const engine = this.#engine;
    const { batch, seed, epochs } = this.#config;
    const order = new BatchOrder(data.count, batch, {
      seed,
      stream: task === 1 ? STREAM.task1Order : STREAM.task2Order,
    });
    const steps = order.batchesPerEpoch;
    if (steps === 0) {
      throw new EliError(
        'CONFIG',
        `a batch of ${batch} is larger than the ${data.count} images of task ${task}`,
      );
    }
    const indices = engine.keep(zeros(engine, [steps * batch], 'u32'));
    const counter = engine.keep(zeros(engine, [1], 'u32'));
    const losses = engine.keep(zeros(engine, [steps]));
    const program = engine.capture(() => this.#step(task, data, indices, counter, losses));
    try {
      for (let epoch = from; epoch < epochs; epoch++) {
        indices.write(order.take(epoch * steps, steps));
        counter.write([0]);
        program.run(steps);
        const values = await losses.readFloats();
        const bad = values.findIndex((loss) => !Number.isFinite(loss));
        if (bad !== -1) {
          throw new EliError(
            'NON_FINITE',
            `task ${task}: the loss is ${values[bad]} in epoch ${epoch + 1}, step ${bad + 1}`,
            {
              hint: 'take a smaller learningRate; the last checkpoint is kept',
            },
          );
        }
        await onEpoch(epoch + 1, values.reduce((a, b) => a + b, 0) / steps);
      }
    } finally {
      program.dispose();
      for (const t of [indices, counter, losses]) t.dispose();
    }
  }

  #step(task: 1 | 2, data: TaskData, indices: Tensor, counter: Tensor, losses: Tensor): void {
    const { base, head1, head2 } = this.net;
    const index = takeBatch(indices, counter, this.#config.batch);
    const logits = classify(task === 1 ? head1 : head2, base.forward(data.batch(index)));
    const loss = crossEntropy(logits, gather(data.labels, index));
    const idle = task === 1 ? [] : head1.parameters();
    const learning = task === 1 ? [...base.parameters(), ...head1.parameters()] : base.parameters();
    this.#optimizer.step([...grad(loss, learning), ...idle.map((p) => zeros(p.engine, p.shape))]);
    logStep(loss, losses, counter);
  }

  async state(): Promise<ClassifierState> {
    const { momentum } = this.#optimizer.state;
    return {
      net: await this.net.stateDict(),
      momentum: { shape: momentum.shape, data: await momentum.readFloats() },
    };
  }

  load(state: ClassifierState): void {
    this.net.loadStateDict(state.net);
    this.#optimizer.state.momentum.write(state.momentum.data);
  }

  dispose(): void {
    this.#optimizer.dispose();
    this.net.dispose();
  }
}

/** Images a launch takes when all latents of a task are computed. */
const CHUNK = 4096;

/** Latents of all images of a task, [count, d], kept until disposed. */
export function latentsOf(base: Linear, data: TaskData): Tensor {
  const { engine } = data.images;
  const d = base.weight.shape[0]!;
  return engine.tidy(() => {
    const out = empty(engine, [data.count, d]);
    for (let first = 0; first < data.count; first += CHUNK) {
      engine.tidy(() => {
        const rows = Math.min(CHUNK, data.count - first);
        const index = tensor(
          engine,
          Uint32Array.from({ length: rows }, (_, i) => first + i),
        );
        copyInto(base.forward(data.batch(index)), out, out.strides, first * d);
      });
    }
    return out;
  });
}

/**
 * Accuracy in % as the original takes it: the mean over batches of 128 in file order of the batch accuracies, the
 * last batch being smaller.
 */
export async function accuracy(head: Linear, latents: Tensor, targets: Uint8Array): Promise<number> {
  const predicted = latents.engine.tidy(() => argmax(classify(head, latents)));
  const labels = await predicted.read();
  predicted.dispose();
  const batches: number[] = [];
  for (let first = 0; first < targets.length; first += 128) {
    const end = Math.min(first + 128, targets.length);
    let right = 0;
    for (let i = first; i < end; i++) if (labels[i] === targets[i]) right++;
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
