import { detach, grad } from '../autograd/tape.ts';
import type { EnergyModel } from '../ebm/energy-model.ts';
import { canRunHidden, HiddenState } from '../ebm/hidden.ts';
import { contrastiveLoss } from '../ebm/losses.ts';
import { sample } from '../ebm/sample.ts';
import { gradientDescent } from '../ebm/unadjusted.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { StateDict } from '../nn/module.ts';
import { gather } from '../ops/gather.ts';
import { compact, copyInto } from '../ops/views.ts';
import { Ema } from '../optim/ema.ts';
import { type Optimizer, rmsprop } from '../optim/optimizer.ts';
import { fill } from '../tensor/create.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type StepBuffers, TrainingLoop } from '../train/loop.ts';
import { logStep, takeBatch } from '../train/step.ts';
import type { AlignerState, FitSchedule, LatentPairs } from './fit.ts';
import type { AlignerConfig } from './options.ts';

/** The latents as the kernels take them, to be disposed: the same elements where they lie so already. */
function denseCopy(latents: Tensor): Tensor {
  const own = detach(latents);
  const dense = compact(own);
  if (dense !== own) own.dispose();
  return own.engine.keep(dense);
}

/** What one kind of iteration needs: how it is recorded, and the way of its parameters in and out. */
interface Iteration {
  record(buffers: StepBuffers): void;
  load(): void;
  store(): void;
  dispose(): void;
}

/** What `run` tells on the way. */
export interface FitReport {
  readonly iteration: number;
  /** Mean loss since the last report; NaN where there was no iteration. */
  readonly loss: number;
  /** Whether the signal ended the fit here, between two regular reports. */
  readonly stopped: boolean;
}

/**
 * Learns the energy: each iteration takes a minibatch of pairs, runs chains from the current model's latents, and
 * lowers the energy of the previous model's latents against that of the chains' ends (contrastive loss of the paper,
 * equation 5). The training loop replays the iteration.
 */
export class AlignerTrainer {
  readonly model: EnergyModel;
  readonly average: EnergyModel;
  readonly #squares: EnergyModel;
  readonly #config: AlignerConfig;
  readonly #engine: Engine;
  #iteration = 0;
  /** Since the last report. */
  #losses: number[] = [];

  /** Three models of one shape: the weights, their moving average (the same at first), RMSprop's squares (zeros). */
  constructor(config: AlignerConfig, model: EnergyModel, average: EnergyModel, squares: EnergyModel) {
    this.#config = config;
    this.model = model;
    this.average = average;
    this.#squares = squares;
    this.#engine = model.parameters()[0]!.engine;
    for (const tensor of squares.parameters()) fill(tensor, 0);
  }

  #models(): EnergyModel[] {
    return [this.model, this.average, this.#squares];
  }

  keep(): void {
    for (const parameter of this.#models().flatMap((m) => m.parameters())) this.#engine.keep(parameter);
  }

  dispose(): void {
    for (const model of this.#models()) model.dispose();
  }

  async state(): Promise<Omit<AlignerState, 'start'>> {
    const [model, average, squares] = await Promise.all(
      this.#models().map((m): Promise<StateDict> => m.stateDict()),
    );
    return {
      iteration: this.#iteration,
      losses: Float32Array.from(this.#losses),
      model: model!,
      average: average!,
      squares: squares!,
    };
  }

  load(state: Omit<AlignerState, 'start'>): void {
    this.model.loadStateDict(state.model);
    this.average.loadStateDict(state.average);
    this.#squares.loadStateDict(state.squares);
    this.#iteration = state.iteration;
    this.#losses = [...state.losses];
  }

  /** Runs all iterations that are left; reports at multiples of `every`, at the end, and where the signal stops it. */
  async *run(pairs: LatentPairs, hooks: FitSchedule): AsyncGenerator<FitReport> {
    const { iterations, batch, seed } = this.#config;
    const { every = 1000, order, signal } = hooks;
    const dense = {
      previous: denseCopy(pairs.previous),
      current: denseCopy(pairs.current),
    };
    let iteration: Iteration | undefined;
    let loop: TrainingLoop | undefined;
    try {
      iteration = this.#makeIteration(dense);
      loop = new TrainingLoop(this.#engine, {
        samples: pairs.previous.shape[0]!,
        batch,
        random: { seed, stream: STREAM.alignerOrder },
        order,
        record: iteration.record,
        nonFinite,
      });
      loop.step = this.#iteration;
      iteration.load();
      while (this.#iteration < iterations) {
        const end = Math.min(every * (Math.floor(this.#iteration / every) + 1), iterations);
        // One by one: a call takes only so many arguments.
        for (const loss of await loop.run(end - this.#iteration, { signal })) this.#losses.push(loss);
        this.#iteration = loop.step;
        iteration.store();
        yield this.#report(this.#iteration < end);
        if (signal?.aborted === true)
          throw new EliError('ABORTED', `the fit was stopped at iteration ${this.#iteration}`);
      }
    } finally {
      loop?.dispose();
      iteration?.dispose();
      for (const tensor of Object.values(dense)) tensor.dispose();
    }
  }

  #report(stopped: boolean): FitReport {
    const loss = this.#losses.reduce((a, b) => a + b, 0) / this.#losses.length;
    if (!stopped) this.#losses = [];
    return { iteration: this.#iteration, loss, stopped };
  }

  #makeIteration(pairs: LatentPairs): Iteration {
    const { variant, energyL2 } = this.#config;
    const possible = energyL2 === 0 && canRunHidden(this.#engine, this.model.config);
    if (variant === 'hidden' && !possible) {
      throw new EliError(
        'CONFIG',
        'variant "hidden" needs one hidden layer of 32 or 64 units, no energyL2, and subgroups of one size',
        { hint: 'use variant "auto"' },
      );
    }
    return variant === 'plain' || !possible ? this.#plainIteration(pairs) : this.#hiddenIteration(pairs);
  }

  #hiddenIteration(pairs: LatentPairs): Iteration {
    const { steps, stepSize, learningRate, alpha, epsilon, emaDecay } = this.#config;
    const state = new HiddenState(this.#engine, this.model.config);
    const sets = {
      model: this.model.parameters(),
      squares: this.#squares.parameters(),
      average: this.average.parameters(),
    };
    const constants = { steps, stepSize, learningRate, alpha, epsilon, emaDecay };
    return {
      record: (buffers) => state.iterate({ ...pairs, ...buffers, ...constants }),
      load: () => state.exchange(sets, true),
      store: () => state.exchange(sets, false),
      dispose: () => state.dispose(),
    };
  }

  #plainIteration(pairs: LatentPairs): Iteration {
    const { steps, stepSize, learningRate, alpha, epsilon, emaDecay, variant, energyL2 } = this.#config;
    const parameters = this.model.parameters();
    const optimizer: Optimizer = rmsprop(parameters, { learningRate, alpha, epsilon });
    const ema = new Ema(optimizer.flat, emaDecay);
    const record = ({ order, counter, losses, batch }: StepBuffers): void => {
      const index = takeBatch(order, counter, batch);
      const previous = gather(pairs.previous, index);
      const sampled = sample(this.model, gather(pairs.current, index), gradientDescent({ stepSize }), {
        steps,
        variant: variant === 'plain' ? 'plain' : 'auto',
      });
      const loss = contrastiveLoss(this.model, previous, sampled.latents, { l2: energyL2 });
      optimizer.step(grad(loss, parameters));
      ema.update();
      logStep(loss, losses, counter);
    };
    const averages = optimizer.flat.viewsOf(ema.average);
    const squares = optimizer.flat.viewsOf(optimizer.state.squares);
    const copy = (from: readonly Tensor[], to: readonly Tensor[]): void => {
      from.forEach((tensor, i) => {
        copyInto(tensor, to[i]!, to[i]!.strides, 0);
      });
    };
    return {
      record,
      load: () => {
        copy(this.average.parameters(), averages);
        copy(this.#squares.parameters(), squares);
      },
      store: () => {
        copy(averages, this.average.parameters());
        copy(squares, this.#squares.parameters());
      },
      dispose: () => {
        for (const tensor of [...averages, ...squares]) tensor.dispose();
        ema.dispose();
        optimizer.dispose();
      },
    };
  }
}

function nonFinite(loss: number, iteration: number): EliError {
  return new EliError('NON_FINITE', `the aligner's loss is ${loss} at iteration ${iteration + 1}`, {
    hint: 'check the latents for huge values, or use a smaller stepSize or learningRate',
  });
}
