import { detach } from '../../autograd/tape.ts';
import { type ConfigOf, ConfigTable, number, numbers, whole } from '../../config.ts';
import { brief, EliError } from '../../errors.ts';
import { wholeNumber } from '../../files/json.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { Activation, Linear, Sequential } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateTensor } from '../../nn/state-file.ts';
import { mul } from '../../ops/binary.ts';
import { gather } from '../../ops/gather.ts';
import { oneHot } from '../../ops/loss.ts';
import { mean, sum } from '../../ops/reduce.ts';
import { logSoftmax, logSumExp } from '../../ops/softmax.ts';
import { affine, relu } from '../../ops/unary.ts';
import { contiguous, copyInto, reshape, slice, transpose } from '../../ops/views.ts';
import { adam } from '../../optim/optimizer.ts';
import { cosineRate } from '../../optim/schedules.ts';
import { empty, tensor } from '../../tensor/create.ts';
import { withScope } from '../../tensor/scope.ts';
import { STREAM } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { rangeTensor } from '../../train/features.ts';
import type { TrainingSamples } from '../../train/samples.ts';
import { Trainer } from '../../train/trainer.ts';
import { readOnce } from '../moments.ts';
import { fitted, Gate, type GateBatch, type GateData, type GateState, need } from './gate.ts';

const SETTINGS = new ConfigTable('transforms setting', {
  /** p = side². */
  side: whole('side of the square grey images', { default: 28, from: 1 }),
  pool: whole('side of the squares that images are averaged over first', { default: 2, from: 1 }),
  hidden: {
    ...numbers('units of the hidden layers', { default: [256, 64] }),
    accepts: (value): value is readonly number[] =>
      Array.isArray(value) && value.every((units) => Number.isInteger(units) && units >= 1),
    must: 'a list of whole numbers from 1',
  },
  steps: whole('training steps', { default: 3000, from: 1 }),
  batch: whole('images per step, each in all eight transforms', { default: 32, from: 1 }),
  /** It falls to zero along a cosine. */
  learningRate: number("Adam's initial learning rate", { default: 3e-3, from: 0, to: 1e3 }),
  seed: whole('seed of weights and sample order', { default: 1, from: 0 }),
});

/** How the network of a transform gate is trained; every setting has a default. */
export interface TransformSettings extends ConfigOf<typeof SETTINGS> {}

/** Rotations by 0, 90, 180 and 270 degrees, of the image and of its mirror image. */
const TRANSFORMS = 8;
/** Steps between changes of the learning rate. */
const RATE_STEPS = 100;
/** Images scored per launch. */
const ROWS = 1024;

/**
 * G: how badly a network trained on the current task's images recognises which of eight transforms was applied to an
 * image: −mean_k log p(k | T_k x) (Golan and El-Yaniv, NeurIPS 2018). With labels it is trained to predict class and
 * transform together, which teaches it more about the classes; the score uses the transform alone.
 */
export class TransformGate extends Gate {
  readonly name = 'transforms';
  readonly settings: TransformSettings;
  #classes = 1;
  #weights: StateDict | undefined;

  /** @throws EliError `CONFIG` naming the wrong setting, or for a pool that does not divide the side */
  constructor(settings: Partial<TransformSettings> = {}) {
    super();
    this.settings = SETTINGS.complete(settings);
    const { side, pool } = this.settings;
    if (side % pool !== 0) {
      throw new EliError('CONFIG', `gate transforms: a pool of ${pool} does not divide the side ${side}`);
    }
  }

  /** The gate with this state. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState): TransformGate {
    const { classes, ...rest } = settings as unknown as { classes: number } & TransformSettings;
    const gate = new TransformGate(rest);
    gate.#classes = wholeNumber('classes', classes, 1e6);
    gate.#checkWeights(tensors);
    gate.#weights = tensors;
    return gate;
  }

  override async fit(data: GateData): Promise<void> {
    const inputs = need(this.name, data, 'inputs');
    this.#checkImages(inputs);
    const { engine } = inputs;
    const n = inputs.shape[0]!;
    const { batch, steps, learningRate, seed } = this.settings;
    if (n < batch)
      throw new EliError('SHAPE', `gate transforms: ${n} images are fewer than a batch of ${batch}`);
    const labels = Uint32Array.from(data.labels ?? new Uint8Array(n));
    if (labels.length !== n)
      throw new EliError('SHAPE', `gate transforms: ${n} images have ${labels.length} labels`);
    this.#classes = labels.reduce((a, b) => Math.max(a, b), 0) + 1;
    const cosine = cosineRate(learningRate, steps);
    const rate = (step: number): number => cosine(step - (step % RATE_STEPS));
    await withScope(engine, async (scope) => {
      const network = scope.add(this.#network(engine));
      const optimizer = scope.add(adam(network.parameters(), { learningRate }));
      // A separate handle: with a pool of 1 the images are the caller's.
      const images = scope.own(() => detach(this.#pooled(inputs)));
      const targets = scope.own(() => this.#targets(engine, labels));
      const permutation = scope.own(() => this.#permutation(engine));
      const samples: TrainingSamples = {
        count: n,
        inputs: (index) => transformed(gather(images, index), permutation),
        labels: (index) => reshape(gather(targets, index), [batch * TRANSFORMS]),
      };
      const options = { name: 'gate transforms', batch, seed, stream: STREAM.transformsOrder, rate };
      await scope.add(new Trainer(network, samples, optimizer, options)).run(steps);
      this.#weights = await network.stateDict();
    });
  }

  override async score(batch: GateBatch): Promise<Float32Array> {
    const inputs = need(this.name, batch, 'inputs');
    this.#checkImages(inputs);
    const { engine } = inputs;
    const weights = fitted(this.name, this.#weights);
    const n = inputs.shape[0]!;
    return withScope(engine, (scope) => {
      const network = scope.add(this.#network(engine));
      network.loadStateDict(weights);
      return readOnce(inputs, () => {
        const out = empty(engine, [n]);
        const permutation = this.#permutation(engine);
        const own = oneHot(rangeTensor(engine, 0, TRANSFORMS), TRANSFORMS);
        for (let first = 0; first < n; first += ROWS) {
          const end = Math.min(first + ROWS, n);
          engine.tidy(() => {
            const x = transformed(this.#pooled(slice(inputs, 0, first, end)), permutation);
            const all = reshape(logSoftmax(network.forward(x)), [-1, TRANSFORMS, this.#classes]);
            const guesses = reshape(logSumExp(all, -1), [end - first, TRANSFORMS, TRANSFORMS]);
            const right = sum(sum(mul(guesses, own), -1), -1);
            copyInto(affine(right, -1 / TRANSFORMS, 0), out, out.strides, first);
          });
        }
        return out;
      });
    });
  }

  override state(): GateState {
    const tensors = fitted(this.name, this.#weights);
    return { kind: 'transforms', settings: { ...this.settings, classes: this.#classes }, tensors };
  }

  /** @throws EliError `SHAPE` unless they are [n, side²]. */
  #checkImages({ shape: [, p] }: Tensor): void {
    const { side } = this.settings;
    if (p === side ** 2) return;
    throw new EliError(
      'SHAPE',
      `gate transforms: inputs of ${p} values are not images of ${side} × ${side}`,
      { hint: "set `side` to the images' side" },
    );
  }

  /** Sizes of the network's input, hidden layers and output. */
  #widths(): number[] {
    const { side, pool, hidden } = this.settings;
    return [(side / pool) ** 2, ...hidden, TRANSFORMS * this.#classes];
  }

  /** What `loadStateDict` would say, before there is an engine. @throws EliError `FORMAT` */
  #checkWeights(weights: StateDict): void {
    const [inputs, ...outputs] = this.#widths();
    for (const [i, out] of outputs.entries()) {
      stateTensor('transform gate', weights, `${2 * i}.weight`, [out, outputs[i - 1] ?? inputs!]);
      stateTensor('transform gate', weights, `${2 * i}.bias`, [out]);
    }
    const names = Object.keys(weights);
    if (names.length === 2 * outputs.length) return;
    throw new EliError('FORMAT', `the transform gate has more tensors than its network: ${brief(names)}`);
  }

  /** A fresh network of the gate's shape, kept until disposed. */
  #network(engine: Engine): Sequential {
    const init = new Initializer(engine, this.settings.seed, STREAM.transforms);
    const widths = this.#widths();
    const layers: (Linear | Activation)[] = [];
    for (let i = 1; i < widths.length; i++) {
      if (i > 1) layers.push(new Activation(relu));
      layers.push(new Linear(init, widths[i - 1]!, widths[i]!));
    }
    return new Sequential(layers);
  }

  /** The transforms of pooled images, as `transformed` takes them. */
  #permutation(engine: Engine): Tensor {
    return tensor(engine, permutations(this.settings.side / this.settings.pool));
  }

  /** Images [n, side²] → [n, (side / pool)²]. */
  #pooled(inputs: Tensor): Tensor {
    const { side, pool } = this.settings;
    const [n] = inputs.shape as [number, number];
    if (pool === 1) return contiguous(inputs);
    const small = side / pool;
    const squares = reshape(contiguous(inputs), [n, small, pool, small, pool]);
    return reshape(mean(mean(squares, 4), 2), [n, small * small]);
  }

  /** The network's target for each image in each transform: transform · classes + class, u32 [n, transforms]. */
  #targets(engine: Engine, labels: Uint32Array): Tensor {
    const targets = new Uint32Array(labels.length * TRANSFORMS);
    labels.forEach((label, i) => {
      for (let k = 0; k < TRANSFORMS; k++) targets[i * TRANSFORMS + k] = k * this.#classes + label;
    });
    return tensor(engine, targets, [labels.length, TRANSFORMS]);
  }
}

/** Images [n, q] in all transforms, [n · transforms, q]; those of one image are neighbours. */
function transformed(images: Tensor, permutation: Tensor): Tensor {
  const [n, q] = images.shape as [number, number];
  const all = gather(contiguous(transpose(images)), permutation);
  return reshape(contiguous(transpose(all)), [n * TRANSFORMS, q]);
}

/** For each transform, the pixel that moves to each place: u32 [transforms · side²]. */
function permutations(side: number): Uint32Array<ArrayBuffer> {
  const out = new Uint32Array(TRANSFORMS * side * side);
  const last = side - 1;
  for (let k = 0; k < TRANSFORMS; k++) {
    for (let row = 0; row < side; row++) {
      for (let column = 0; column < side; column++) {
        let [y, x] = [row, k < 4 ? column : last - column];
        for (let turn = 0; turn < k % 4; turn++) [y, x] = [x, last - y];
        out[(k * side + row) * side + column] = y * side + x;
      }
    }
  }
  return out;
}
