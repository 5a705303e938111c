import { grad } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Program } from '../gpu/program.ts';
import type { Module, StateDict } from '../nn/module.ts';
import { checkNumerics } from '../ops/check-numerics.ts';
import { toFloat } from '../ops/gather.ts';
import { crossEntropy } from '../ops/loss.ts';
import { Ema } from '../optim/ema.ts';
import { LossScaler, type LossScaling } from '../optim/loss-scale.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { checkHalves, zeros } from '../tensor/create.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LabelledSamples } from './labelled-samples.ts';
import { BatchOrder } from './order.ts';
import { inPrecision, type Precision } from './precision.ts';
import { logStep, takeBatch } from './step.ts';

export interface TrainerOptions {
  /** Samples of a step; the last incomplete minibatch of an epoch is dropped. */
  readonly batch: number;
  /** Of the order of the samples; each epoch has its own. */
  readonly seed: number;
  /** Learning rate of step k = 0, 1, …; without it the optimiser's stays. */
  readonly rate?: (step: number) => number;
  /** Loss, one number, of the model's output (as f32) for a minibatch and its labels [batch]. Default: cross-entropy. */
  readonly loss?: (output: Tensor, labels: Tensor) => Tensor;
  /** Instead: loss of the output and the samples' shares of the classes, as mixup gives them. */
  readonly shares?: (output: Tensor, shares: Tensor) => Tensor;
  /** Decay of a moving average of the parameters, `trainer.ema`. Default: none is kept. */
  readonly emaDecay?: number;
  /**
   * With `mixed`, activations and their gradients are f16; parameters, their gradients and the loss stay f32. The loss is
   * scaled on the device (`LossScaler`): a step whose gradients overflow changes nothing but the scale, and the running
   * statistics of normalisation. Default `f32`.
   */
  readonly precision?: Precision;
  /** Look at what every op makes, step by step, and stop at the first NaN or infinity: slow. Default false. */
  readonly checkNumerics?: boolean;
}

/** Everything a training needs to go on with the same bits. */
export interface TrainerState {
  readonly step: number;
  readonly model: StateDict;
  /** The optimiser's and the average's flat buffers, and the loss scale. */
  readonly optimizer: StateDict;
}

/** Bytes on the device. */
export interface TrainerMemory {
  readonly parameters: number;
  /** Gradients, momenta and averages, each in the parameters' layout. */
  readonly optimizer: number;
  /** Buffers of the captured step: activations that the backward pass needs, and what both passes pass through. */
  readonly step: number;
}

/** Steps whose losses are read at once. */
const STRETCH = 64;

/**
 * Trains a model on samples that live on the device: one step, captured once, is replayed; minibatches are taken by
 * index there, and only losses come back. The optimiser's parameters are what learns.
 */
export class Trainer {
  readonly engine: Engine;
  readonly model: Module;
  readonly optimizer: Optimizer;
  readonly ema: Ema | undefined;
  readonly stepsPerEpoch: number;
  readonly #options: TrainerOptions;
  readonly #order: BatchOrder;
  readonly #indices: Tensor;
  readonly #counter: Tensor;
  readonly #losses: Tensor;
  readonly #scaler: LossScaler | undefined;
  /** The captured step, unless ops are looked at one by one. */
  readonly #program: Program<void> | undefined;
  readonly #samples: LabelledSamples;
  #stepBytes = 0;
  #step = 0;
  #epochOnDevice = -1;

  /**
   * @throws EliError `CONFIG` when a minibatch is larger than the samples, or mixed precision is to be looked at op by
   * op; `DTYPE` for mixed precision on an adapter without f16
   */
  constructor(model: Module, samples: LabelledSamples, optimizer: Optimizer, options: TrainerOptions) {
    const { engine } = optimizer.flat;
    const { batch, seed, precision = 'f32' } = options;
    if (precision === 'mixed') checkHalves(engine);
    if (precision === 'mixed' && options.checkNumerics === true) {
      throw new EliError(
        'CONFIG',
        'checkNumerics does not go with mixed precision, whose gradients may overflow',
        {
          hint: 'look for the op in f32',
        },
      );
    }
    this.engine = engine;
    this.model = model;
    this.optimizer = optimizer;
    this.#options = options;
    this.#samples = samples;
    this.#order = new BatchOrder(samples.count, batch, { seed, stream: STREAM.trainOrder });
    this.stepsPerEpoch = this.#order.batchesPerEpoch;
    if (this.stepsPerEpoch === 0) {
      throw new EliError('CONFIG', `a batch of ${batch} is larger than the ${samples.count} samples`, {
        hint: 'take a smaller batch',
      });
    }
    if (options.emaDecay !== undefined) this.ema = new Ema(optimizer.flat, options.emaDecay);
    this.#indices = engine.keep(zeros(engine, [this.stepsPerEpoch * batch], 'u32'));
    this.#counter = engine.keep(zeros(engine, [1], 'u32'));
    this.#losses = engine.keep(zeros(engine, [STRETCH]));
    if (precision === 'mixed') this.#scaler = new LossScaler(engine);
    const before = engine.memory.bytesInUse;
    model.train(true);
    model.useStep(this.#counter);
    if (options.checkNumerics === true) return;
    this.#program = engine.capture(() => this.#record());
    this.#stepBytes = engine.memory.bytesInUse - before;
  }

  /** Steps done so far. */
  get step(): number {
    return this.#step;
  }

  /** Scale of the loss and steps left out so far, read from the device; undefined in f32. */
  async lossScaling(): Promise<LossScaling | undefined> {
    return this.#scaler?.read();
  }

  get memory(): TrainerMemory {
    const flat = this.optimizer.flat.values.size * 4;
    const copies = 3 + (this.ema === undefined ? 0 : 1);
    return { parameters: flat, optimizer: copies * flat, step: this.#stepBytes };
  }

  #record(): void {
    const samples = this.#samples;
    const { batch, loss: lossOf = crossEntropy, shares, precision = 'f32' } = this.#options;
    const scaler = this.#scaler;
    const index = takeBatch(this.#indices, this.#counter, batch);
    const output = toFloat(this.model.forward(inPrecision(precision, samples.inputs(index, this.#counter))));
    const loss =
      shares === undefined
        ? lossOf(output, samples.labels(index))
        : shares(output, this.#sharesOf(samples, index));
    const { flat, state } = this.optimizer;
    const gradOutput = scaler === undefined ? {} : { gradOutput: scaler.scale };
    this.optimizer.step(grad(loss, flat.parameters, gradOutput), scaler);
    this.ema?.update(scaler === undefined ? undefined : state.hyper);
    logStep(loss, this.#losses, this.#counter);
  }

  #sharesOf(samples: LabelledSamples, index: Tensor): Tensor {
    const shares = samples.targets?.(index, this.#counter);
    if (shares === undefined) throw new EliError('ARGUMENT', 'these samples have no shares of classes');
    return shares;
  }

  async #replay(count: number, before: number): Promise<void> {
    if (this.#program !== undefined) return this.#program.run(count);
    for (let i = 0; i < count; i++) {
      try {
        await checkNumerics(this.engine, () => this.engine.tidy(() => this.#record()));
      } catch (cause) {
        if (!(cause instanceof EliError) || cause.code !== 'NON_FINITE') throw cause;
        const step = this.#step + before + i;
        throw new EliError('NON_FINITE', `step ${step + 1}: ${cause.message}`, { cause });
      }
    }
  }

  /**
   * Does the next `count` steps and returns their losses.
   * @throws EliError `NON_FINITE` naming epoch and step of a loss that is not finite.
   */
  async run(count: number): Promise<Float32Array> {
    const losses = new Float32Array(count);
    for (let done = 0; done < count; ) {
      const inEpoch = this.#step % this.stepsPerEpoch;
      const stretch = Math.min(count - done, STRETCH - (this.#step % STRETCH), this.stepsPerEpoch - inEpoch);
      losses.set(await this.#stretch(stretch), done);
      done += stretch;
    }
    return losses;
  }

  async #stretch(count: number): Promise<Float32Array> {
    const epoch = Math.floor(this.#step / this.stepsPerEpoch);
    if (epoch !== this.#epochOnDevice) {
      this.#indices.write(this.#order.take(epoch * this.stepsPerEpoch, this.stepsPerEpoch));
      this.#epochOnDevice = epoch;
    }
    const { rate } = this.#options;
    // Replays of one rate go together.
    for (let i = 0; i < count; ) {
      const now = rate?.(this.#step + i);
      let same = 1;
      while (i + same < count && (rate === undefined || rate(this.#step + i + same) === now)) same++;
      if (now !== undefined && now !== this.optimizer.learningRate) this.optimizer.learningRate = now;
      await this.#replay(same, i);
      i += same;
    }
    const place = this.#step % STRETCH;
    const values = (await this.#losses.readFloats()).slice(place, place + count);
    const bad = values.findIndex((loss) => !Number.isFinite(loss));
    if (bad !== -1) {
      const step = this.#step + bad;
      throw new EliError(
        'NON_FINITE',
        `the loss is ${values[bad]} in epoch ${epoch + 1}, step ${(step % this.stepsPerEpoch) + 1}`,
        {
          hint: 'take a smaller learningRate, a warm-up, or clip the gradients; the last checkpoint is kept',
        },
      );
    }
    this.#step += count;
    return values;
  }

  /** Reads everything that a checkpoint needs. */
  async state(): Promise<TrainerState> {
    return {
      step: this.#step,
      model: await this.model.stateDict(),
      optimizer: Object.fromEntries(
        await Promise.all(
          Object.entries(this.#buffers()).map(async ([name, t]) => [
            name,
            { shape: t.shape, data: await t.readFloats() },
          ]),
        ),
      ) as StateDict,
    };
  }

  /** Goes on from `state`. @throws EliError `SHAPE` that lists what does not fit. */
  load(state: TrainerState): void {
    this.model.loadStateDict(state.model);
    for (const [name, tensor] of Object.entries(this.#buffers())) {
      const saved = state.optimizer[name];
      if (saved?.data.length !== tensor.size) {
        throw new EliError(
          'SHAPE',
          `the optimiser's ${name} has ${tensor.size} numbers, the saved state ${saved?.data.length ?? 'none'}`,
          { hint: 'resume with the model and optimiser of the saved run' },
        );
      }
      tensor.write(saved.data);
    }
    // The optimiser remembers the rate that it has on the device.
    this.optimizer.learningRate = state.optimizer.hyper!.data[0]!;
    this.#step = state.step;
    this.#counter.write([state.step]);
    this.#epochOnDevice = -1;
  }

  #buffers(): Record<string, Tensor> {
    const { momentum, squares, hyper } = this.optimizer.state;
    return {
      momentum,
      squares,
      hyper,
      ...(this.ema === undefined ? {} : { average: this.ema.average }),
      ...(this.#scaler === undefined ? {} : { lossScale: this.#scaler.state }),
    };
  }

  /** The model and the optimiser stay. */
  dispose(): void {
    this.#program?.dispose();
    this.ema?.dispose();
    this.#scaler?.dispose();
    for (const tensor of [this.#indices, this.#counter, this.#losses]) tensor.dispose();
  }
}
