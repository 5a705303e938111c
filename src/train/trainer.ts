import { grad } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
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

/**
 * What a second optimiser does in each step, after the first: the upper level of bilevel methods, for instance. It takes
 * the same minibatch.
 */
export interface Turn {
  readonly optimizer: Optimizer;
  readonly objective: Objective;
  /** Its learning rate at step k; without it the optimiser's stays. */
  readonly rate?: (step: number) => number;
}

/** How a model is trained. */
export interface TrainerOptions {
  /** TrainingSamples of a step; the last incomplete minibatch of an epoch is dropped. */
  readonly batch: number;
  /** Of the order of the samples; each epoch has its own. */
  readonly seed: number;
  /** What messages call this training, such as `task 1`. */
  readonly name?: string;
  /** Random stream of the order. */
  readonly stream?: number;
  /** Learning rate of step k = 0, 1, …; without it the optimiser's stays. */
  readonly rate?: (step: number) => number;
  /** What is lowered. Default: the cross-entropy of the model's output for the labels. */
  readonly objective?: Objective;
  /** Optimisers that take turns with the first in each step, in this order. Not in mixed precision. */
  readonly turns?: readonly Turn[];
  /**
   * Whether a parameter that an objective does not reach has a gradient of zero: what is left of its momentum, and weight
   * decay, still move it. Default: an error.
   */
  readonly materialize?: boolean;
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

/** Everything a training needs to resume bit for bit. */
export interface TrainerState {
  readonly step: number;
  readonly model: StateDict;
  /** Flat buffers of the optimisers and of the average, and the loss scale. */
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

/**
 * Trains a model on samples that live on the device by the training loop: an objective over a minibatch is lowered by an
 * optimiser, whose parameters are what learns.
 */
export class Trainer {
  readonly engine: Engine;
  readonly model: Module;
  readonly optimizer: Optimizer;
  readonly ema: Ema | undefined;
  readonly #options: TrainerOptions;
  readonly #samples: TrainingSamples;
  readonly #scaler: LossScaler | undefined;
  readonly #loop: TrainingLoop;

  /**
   * @throws EliError `CONFIG` when a minibatch is larger than the samples, or mixed precision does not go with
   * `checkNumerics` or `turns`; `DTYPE` for mixed precision on an adapter without f16
   */
  constructor(model: Module, samples: TrainingSamples, optimizer: Optimizer, options: TrainerOptions) {
    const { engine } = optimizer.flat;
    const { batch, seed, stream = STREAM.trainOrder, rate, turns = [], precision = 'f32' } = options;
    if (precision === 'mixed') checkMixed(engine, options);
    this.engine = engine;
    this.model = model;
    this.optimizer = optimizer;
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
      rates: [{ optimizer, rate }, ...turns].flatMap((turn) =>
        turn.rate === undefined ? [] : [{ optimizer: turn.optimizer, rate: turn.rate }],
      ),
      nonFinite: (loss, step) => this.#nonFinite(loss, step),
      checkNumerics: options.checkNumerics === true,
    });
  }

  /** Steps of an epoch: complete minibatches. */
  get stepsPerEpoch(): number {
    return this.#loop.batchesPerEpoch;
  }

  /** Steps done so far. */
  get step(): number {
    return this.#loop.step;
  }

  /** Scale of the loss and steps left out so far, read from the device; undefined in f32. */
  async lossScaling(): Promise<LossScaling | undefined> {
    return this.#scaler?.read();
  }

  /** Bytes on the device, by what they are for. */
  get memory(): TrainerMemory {
    const flat = this.optimizer.flat.values.size * 4;
    const copies = 3 + (this.ema === undefined ? 0 : 1);
    return { parameters: flat, optimizer: copies * flat, step: this.#loop.stepBytes };
  }

  #record(buffers: StepBuffers): void {
    const { turns = [], precision = 'f32', batch } = this.#options;
    const { objective = classification(this.model), materialize = false } = this.#options;
    const scaler = this.#scaler;
    this.model.useStep(buffers.step);
    const minibatch = batchOf(
      this.#samples,
      takeBatch(buffers.order, buffers.counter, batch),
      buffers.step,
      precision,
    );
    const loss = objective(minibatch);
    const { flat, state } = this.optimizer;
    const gradOutput = scaler === undefined ? {} : { gradOutput: scaler.scale };
    this.optimizer.step(grad(loss, flat.parameters, { ...gradOutput, materialize }), scaler);
    this.ema?.update(scaler === undefined ? undefined : state.hyper);
    for (const { optimizer, objective: lowered } of turns) {
      optimizer.step(grad(lowered(minibatch), optimizer.flat.parameters, { materialize }));
    }
    logStep(loss, buffers.losses, buffers.counter);
  }

  #nonFinite(loss: number, step: number): EliError {
    const { name } = this.#options;
    const epoch = Math.floor(step / this.stepsPerEpoch) + 1;
    return new EliError(
      'NON_FINITE',
      `${name === undefined ? '' : `${name}: `}the loss is ${loss} in epoch ${epoch}, step ${(step % this.stepsPerEpoch) + 1}`,
      { hint: 'use a smaller learningRate, a warm-up, or clip the gradients; the last checkpoint is kept' },
    );
  }

  /**
   * Does the next `count` steps and returns their losses: fewer when `signal` is aborted meanwhile.
   * @throws EliError `NON_FINITE` naming epoch and step of a loss that is not finite.
   */
  run(count: number, hooks: RunHooks = {}): Promise<Float32Array<ArrayBuffer>> {
    return this.#loop.run(count, hooks);
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
    // An optimiser remembers the rate that it has on the device.
    this.#optimizers().forEach((optimizer, i) => {
      optimizer.learningRate = state.optimizer[`${prefixOf(i)}hyper`]!.data[0]!;
    });
    this.#loop.step = state.step;
  }

  #optimizers(): Optimizer[] {
    return [this.optimizer, ...(this.#options.turns ?? []).map(({ optimizer }) => optimizer)];
  }

  #buffers(): Record<string, Tensor> {
    const states = this.#optimizers().flatMap(({ state }, i) =>
      Object.entries(state).map(([name, tensor]) => [prefixOf(i) + name, tensor] as const),
    );
    return {
      ...Object.fromEntries(states),
      ...(this.ema === undefined ? {} : { average: this.ema.average }),
      ...(this.#scaler === undefined ? {} : { lossScale: this.#scaler.state }),
    };
  }

  /** The model and the optimisers stay. */
  dispose(): void {
    this.#loop.dispose();
    this.ema?.dispose();
    this.#scaler?.dispose();
  }
}

/** What names of a second and further optimiser begin with in a state. */
function prefixOf(optimizer: number): string {
  return optimizer === 0 ? '' : `turn${optimizer}.`;
}

function checkMixed(engine: Engine, { checkNumerics, turns = [] }: TrainerOptions): void {
  checkHalves(engine);
  const wrong =
    checkNumerics === true
      ? 'checkNumerics does not go with mixed precision, whose gradients may overflow'
      : turns.length > 0 && 'optimisers that take turns do not go with mixed precision';
  if (wrong) throw new EliError('CONFIG', wrong, { hint: "use the precision 'f32'" });
}
