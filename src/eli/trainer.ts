import { detach, grad } from '../autograd/tape.ts';
import type { EnergyModel } from '../ebm/energy-model.ts';
import { canRunHidden, HiddenState } from '../ebm/hidden.ts';
import { contrastiveLoss } from '../ebm/losses.ts';
import { sample } from '../ebm/sample.ts';
import { gradientDescent } from '../ebm/unadjusted.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Program } from '../gpu/program.ts';
import type { StateDict } from '../nn/module.ts';
import { gather } from '../ops/gather.ts';
import { compact, copyInto } from '../ops/views.ts';
import { Ema } from '../optim/ema.ts';
import { type Optimizer, rmsprop } from '../optim/optimizer.ts';
import { fill, zeros } from '../tensor/create.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { BatchOrder } from '../train/order.ts';
import { logStep, takeBatch } from '../train/step.ts';
import type { AlignerState, LatentPairs, StretchHooks } from './fit.ts';
import type { AlignerConfig } from './options.ts';

/** The latents as the kernels take them, to be disposed: the same elements where they lie so already. */
function denseCopy(latents: Tensor): Tensor {
  const own = detach(latents);
  const dense = compact(own);
  if (dense !== own) own.dispose();
  return own.engine.keep(dense);
}

/** What one kind of iteration needs: a program to replay, and the way of its parameters in and out. */
interface Steps {
  readonly program: Program<unknown>;
  load(): void;
  store(): void;
  dispose(): void;
}

/** Buffers that one stretch of iterations reads and writes on the device. */
interface Stretch {
  readonly order: Tensor;
  readonly counter: Tensor;
  readonly losses: Tensor;
}

/**
 * Learns the energy: each iteration takes a minibatch of pairs, runs chains from the current model's latents, and
 * lowers the energy of the previous model's latents against that of the chains' ends (contrastive loss of the paper,
 * equation 5). Iterations are replayed from a captured program; only the losses come back.
 */
export class AlignerTrainer {
  readonly model: EnergyModel;
  readonly average: EnergyModel;
  readonly #squares: EnergyModel;
  readonly #config: AlignerConfig;
  readonly #engine: Engine;
  #iteration = 0;

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
    return { iteration: this.#iteration, model: model!, average: average!, squares: squares! };
  }

  load(state: Omit<AlignerState, 'start'>): void {
    this.model.loadStateDict(state.model);
    this.average.loadStateDict(state.average);
    this.#squares.loadStateDict(state.squares);
    this.#iteration = state.iteration;
  }

  /** Runs all iterations that are left, in stretches; tells the mean loss after each. */
  async *run(
    pairs: LatentPairs,
    hooks: StretchHooks,
  ): AsyncGenerator<{ readonly iteration: number; readonly loss: number }> {
    const engine = this.#engine;
    const { iterations, batch, seed } = this.#config;
    const every = Math.max(1, hooks.every ?? 1000);
    const shuffled = new BatchOrder(pairs.previous.shape[0]!, batch, { seed, stream: STREAM.alignerOrder });
    const take = (first: number, count: number): Uint32Array =>
      hooks.order?.subarray(first * batch, (first + count) * batch) ?? shuffled.take(first, count);
    const dense = {
      previous: denseCopy(pairs.previous),
      current: denseCopy(pairs.current),
    };
    const stretch: Stretch = {
      order: engine.keep(zeros(engine, [every * batch], 'u32')),
      counter: engine.keep(zeros(engine, [2], 'u32')),
      losses: engine.keep(zeros(engine, [every])),
    };
    let steps: Steps | undefined;
    try {
      steps = this.#makeSteps(dense, stretch);
      steps.load();
      while (this.#iteration < iterations) {
        // Stretches end at multiples of `every`, also after a resume: the same bits as without a stop.
        const count = Math.min(every - (this.#iteration % every), iterations - this.#iteration);
        const indices = new Uint32Array(every * batch);
        indices.set(take(this.#iteration, count));
        stretch.order.write(indices);
        stretch.counter.write([0, 0]);
        steps.program.run(count);
        const losses = (await stretch.losses.readFloats()).subarray(0, count);
        const bad = losses.findIndex((loss) => !Number.isFinite(loss));
        if (bad !== -1) {
          throw new EliError(
            'NON_FINITE',
            `the aligner's loss is ${losses[bad]} at iteration ${this.#iteration + bad + 1}`,
            {
              hint: 'check the latents for huge values, or take a smaller stepSize or learningRate',
            },
          );
        }
        this.#iteration += count;
        steps.store();
        yield { iteration: this.#iteration, loss: losses.reduce((a, b) => a + b, 0) / count };
        if (hooks.signal?.aborted === true)
          throw new EliError('ABORTED', `the fit was stopped at iteration ${this.#iteration}`);
      }
    } finally {
      steps?.dispose();
      for (const tensor of [...Object.values(stretch), ...Object.values(dense)]) tensor.dispose();
    }
  }

  #makeSteps(pairs: LatentPairs, stretch: Stretch): Steps {
    const { variant, energyL2 } = this.#config;
    const possible = energyL2 === 0 && canRunHidden(this.#engine, this.model.config);
    if (variant === 'hidden' && !possible) {
      throw new EliError(
        'CONFIG',
        'variant "hidden" needs one hidden layer of 32 or 64 units, no energyL2, and subgroups of one size',
        {
          hint: 'use variant "auto"',
        },
      );
    }
    return variant === 'plain' || !possible
      ? this.#plainSteps(pairs, stretch)
      : this.#hiddenSteps(pairs, stretch);
  }

  #hiddenSteps(pairs: LatentPairs, stretch: Stretch): Steps {
    const engine = this.#engine;
    const { batch, steps, stepSize, learningRate, alpha, epsilon, emaDecay } = this.#config;
    const state = new HiddenState(engine, this.model.config);
    const program = engine.capture(() => {
      state.iterate({ ...pairs, ...stretch, batch, steps, stepSize, learningRate, alpha, epsilon, emaDecay });
    });
    const sets = {
      model: this.model.parameters(),
      squares: this.#squares.parameters(),
      average: this.average.parameters(),
    };
    return {
      program,
      load: () => state.exchange(sets, true),
      store: () => state.exchange(sets, false),
      dispose: () => {
        program.dispose();
        state.dispose();
      },
    };
  }

  #plainSteps(pairs: LatentPairs, stretch: Stretch): Steps {
    const engine = this.#engine;
    const { batch, steps, stepSize, learningRate, alpha, epsilon, emaDecay, variant, energyL2 } =
      this.#config;
    const parameters = this.model.parameters();
    const optimizer: Optimizer = rmsprop(parameters, { learningRate, alpha, epsilon });
    const ema = new Ema(optimizer.flat, emaDecay);
    const program = engine.capture(() => {
      const index = takeBatch(stretch.order, stretch.counter, batch);
      const previous = gather(pairs.previous, index);
      const sampled = sample(this.model, gather(pairs.current, index), gradientDescent({ stepSize }), {
        steps,
        variant: variant === 'plain' ? 'plain' : 'auto',
      });
      const loss = contrastiveLoss(this.model, previous, sampled.latents, { l2: energyL2 });
      optimizer.step(grad(loss, parameters));
      ema.update();
      logStep(loss, stretch.losses, stretch.counter);
    });
    const averages = optimizer.flat.viewsOf(ema.average);
    const squares = optimizer.flat.viewsOf(optimizer.state.squares);
    const copy = (from: readonly Tensor[], to: readonly Tensor[]): void => {
      from.forEach((tensor, i) => {
        copyInto(tensor, to[i]!, to[i]!.strides, 0);
      });
    };
    return {
      program,
      load: () => {
        copy(this.average.parameters(), averages);
        copy(this.#squares.parameters(), squares);
      },
      store: () => {
        copy(averages, this.average.parameters());
        copy(squares, this.#squares.parameters());
      },
      dispose: () => {
        program.dispose();
        for (const tensor of [...averages, ...squares]) tensor.dispose();
        ema.dispose();
        optimizer.dispose();
      },
    };
  }
}
