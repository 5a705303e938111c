import { AbortError } from '../abort.ts';
import { grad } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import type { Module, StateDict } from '../nn/module.ts';
import { Ema } from '../optim/ema.ts';
import { LossScaler, type LossScaling } from '../optim/loss-scale.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { checkHalves } from '../tensor/create.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type RunHooks, type StepBuffers, TrainingLoop } from './loop.ts';
import type { Precision } from './objective.ts';
import { batchOf, classification, type Objective } from './objective.ts';
import type { TrainingSamples } from './samples.ts';
import { logStep, takeBatch } from './step.ts';

/** What a further optimiser does in each step with the same mini-batch, such as the upper level of bilevel methods. */
export interface Turn {
  readonly optimizer: Optimizer;
  readonly objective: Objective;
  /** Its learning rate at step k. Default: that of the optimiser. */
  readonly rate?: (step: number) => number;
}

/** How a model is trained. */
export interface TrainerOptions {
  /** Samples per step; the last incomplete mini-batch of an epoch is dropped. */
  readonly batch: number;
  /** Seed of the order of the samples, which is new in each epoch. */
  readonly seed: number;
  /** Name of this training in messages, such as `task 1`. */
  readonly name?: string;
  /** Random stream of the order. */
  readonly stream?: number;
  /** Learning rate of step k = 0, 1, … Default: that of the optimiser. */
  readonly rate?: (step: number) => number;
  /** What is minimised. Default: the cross-entropy of the model's output and the labels. */
  readonly objective?: Objective;
  /** Optimisers that follow the first in each step, in this order. Not in mixed precision. */
  readonly turns?: readonly Turn[];
  /**
   * Whether a parameter that an objective does not depend on has a zero gradient: its remaining momentum and weight decay
   * still move it. Default: an error.
   */
  readonly materialize?: boolean;
  /** Decay of a moving average of the parameters, `trainer.ema`. Default: no average. */
  readonly emaDecay?: number;
  /**
   * With `mixed`, activations and their gradients are f16; parameters, their gradients and the loss stay f32. The loss is
   * scaled on the device (`LossScaler`): a step whose gradients overflow changes only the scale and the running
   * statistics of normalisation. Default `f32`.
   */
  readonly precision?: Precision;
  /** Check the result of every op, step by step, and stop at the first NaN or infinity: slow. Default false. */
  readonly checkNumerics?: boolean;
}

/** Everything that a training needs to resume bit for bit. */
export interface TrainerState {
  readonly step: number;
  readonly model: StateDict;
  /** Flat buffers of the optimisers and the average, and the loss scale. */
  readonly optimizer: StateDict;
}

/** Bytes on the device. */
export interface TrainerMemory {
  readonly parameters: number;
  /** Gradients, momenta and averages, each in the parameters' layout. */
  readonly optimizer: number;
  /** Buffers of the captured step: activations for the backward pass, and intermediate results of both passes. */
  readonly step: number;
}

/** Trains the parameters of an optimiser: each step lowers an objective over a mini-batch of samples on the device. */
export class Trainer {
  readonly model: Module;
  readonly optimizer: Optimizer;
  readonly ema: Ema | undefined;
  readonly #optimizers: readonly Optimizer[];
  readonly #options: TrainerOptions;
  readonly #samples: TrainingSamples;
  readonly #scaler: LossScaler | undefined;
  readonly #loop: TrainingLoop;

  /**
   * @throws EliError `CONFIG` when a mini-batch is larger than the samples, or for mixed precision with
   * `checkNumerics` or `turns`; `DTYPE` for mixed precision on an adapter without f16
   */
  constructor(model: Module, samples: TrainingSamples, optimizer: Optimizer, options: TrainerOptions) {
    const { engine } = optimizer.flat;
    const { batch, seed, stream = STREAM.trainOrder, rate, turns = [], precision = 'f32' } = options;
    const { checkNumerics = false } = options;
    if (precision === 'mixed') {
      checkHalves(engine);
      if (checkNumerics || turns.length > 0) {
        const option = checkNumerics ? 'checkNumerics' : 'turns';
        throw new EliError('CONFIG', `${option} cannot be used with mixed precision`, {
          hint: "its gradients may overflow: use the precision 'f32'",
        });
      }
    }
    this.model = model;
    this.optimizer = optimizer;
    this.#optimizers = [optimizer, ...turns.map((turn) => turn.optimizer)];
    this.#options = options;
    this.#samples = samples;
    if (options.emaDecay !== undefined) this.ema = new Ema(optimizer.flat, options.emaDecay);
    if (precision === 'mixed') this.#scaler = new LossScaler(engine);
    model.train(true);
    this.#loop = new TrainingLoop(engine, {
      samples: samples.count,
      batch,
      random: { seed, stream },
      record: (buffers) => this.#record(buffers),
      rates: [{ optimizer, rate }, ...turns],
      nonFinite: (loss, step) => this.#nonFinite(loss, step),
      checkNumerics,
    });
  }

  /** Steps per epoch: its complete mini-batches. */
  get stepsPerEpoch(): number {
    return this.#loop.batchesPerEpoch;
  }

  /** Steps done so far. */
  get step(): number {
    return this.#loop.step;
  }

  /** Scale of the loss and steps skipped so far, read from the device; undefined in f32. */
  async lossScaling(): Promise<LossScaling | undefined> {
    return this.#scaler?.read();
  }

  /** Bytes on the device, by use. */
  get memory(): TrainerMemory {
    const flat = this.optimizer.flat.values.size * 4;
    const copies = this.ema === undefined ? 3 : 4;
    return { parameters: flat, optimizer: copies * flat, step: this.#loop.stepBytes };
  }

  #record(buffers: StepBuffers): void {
    const { turns = [], precision = 'f32', batch } = this.#options;
    const { objective = classification(this.model), materialize = false } = this.#options;
    const { order, counter, step, losses } = buffers;
    const scaler = this.#scaler;
    this.model.useStep(step);
    const minibatch = batchOf(this.#samples, takeBatch(order, counter, batch), step, precision);
    const loss = objective(minibatch);
    const { flat, state } = this.optimizer;
    const gradOutput = scaler && { gradOutput: scaler.scale };
    this.optimizer.step(grad(loss, flat.parameters, { ...gradOutput, materialize }), scaler);
    this.ema?.update(scaler && state.hyper);
    for (const { optimizer, objective: lowered } of turns) {
      optimizer.step(grad(lowered(minibatch), optimizer.flat.parameters, { materialize }));
    }
    logStep(loss, losses, counter);
  }

  #nonFinite(loss: number, step: number): EliError {
    const { name } = this.#options;
    const where = name === undefined ? '' : `${name}: `;
    const epoch = Math.floor(step / this.stepsPerEpoch) + 1;
    const stepOfEpoch = (step % this.stepsPerEpoch) + 1;
    const message = `${where}the loss is ${loss} in epoch ${epoch}, step ${stepOfEpoch}`;
    return new EliError('NON_FINITE', message, {
      hint: 'use a smaller learningRate, a warm-up, or clip the gradients; the last checkpoint is kept',
    });
  }

  /**
   * Runs the next `count` steps and returns their losses.
   * @throws EliError `NON_FINITE` with the epoch and step of a loss that is not finite.
   * @throws AbortError where `signal` stops it: what was done stays, `step` and `state()` are after the last step that was
   * run, and `partial` holds the losses of this call.
   */
  async run(count: number, hooks: RunHooks = {}): Promise<Float32Array<ArrayBuffer>> {
    const losses = await this.#loop.run(count, hooks);
    if (losses.length === count) return losses;
    const { name = 'the training' } = this.#options;
    throw new AbortError(`${name} was stopped after step ${this.step}`, {
      signal: hooks.signal,
      partial: losses,
    });
  }

  /** Reads everything that a checkpoint needs. */
  async state(): Promise<TrainerState> {
    const buffers = Object.entries(this.#buffers()).map(
      async ([name, t]) => [name, { shape: t.shape, data: await t.readFloats() }] as const,
    );
    return {
      step: this.step,
      model: await this.model.stateDict(),
      optimizer: Object.fromEntries(await Promise.all(buffers)),
    };
  }

  /** Resumes from `state`. @throws EliError `SHAPE` that lists what does not fit. */
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
    // An optimiser also keeps its learning rate on the CPU.
    this.#optimizers.forEach((optimizer, i) => {
      optimizer.learningRate = state.optimizer[`${prefixOf(i)}hyper`]!.data[0]!;
    });
    this.#loop.step = state.step;
  }

  #buffers(): Record<string, Tensor> {
    const states = this.#optimizers.flatMap(({ state }, i) =>
      Object.entries(state).map(([name, tensor]) => [prefixOf(i) + name, tensor] as const),
    );
    return {
      ...Object.fromEntries(states),
      ...(this.ema && { average: this.ema.average }),
      ...(this.#scaler && { lossScale: this.#scaler.state }),
    };
  }

  /** Frees the captured step and the average; the model and the optimisers stay. */
  dispose(): void {
    this.#loop.dispose();
    this.ema?.dispose();
    this.#scaler?.dispose();
  }
}

/** Prefix of an optimiser's names in a state. */
function prefixOf(optimizer: number): string {
  return optimizer === 0 ? '' : `turn${optimizer}.`;
}
