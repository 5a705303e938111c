import { stopIfAborted } from '../abort.ts';
import { detach, grad } from '../autograd/tape.ts';
import { EnergyModel } from '../ebm/energy-model.ts';
import { canRunHidden, HiddenState } from '../ebm/hidden.ts';
import { contrastiveLoss } from '../ebm/losses.ts';
import { sample } from '../ebm/sample.ts';
import { gradientDescent } from '../ebm/unadjusted.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { Initializer } from '../nn/init.ts';
import { gather } from '../ops/gather.ts';
import { compact, copyInto } from '../ops/views.ts';
import { Ema } from '../optim/ema.ts';
import { rmsprop } from '../optim/optimizer.ts';
import { mean } from '../report/stats.ts';
import { fill } from '../tensor/create.ts';
import { Scope } from '../tensor/scope.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type StepBuffers, TrainingLoop } from '../train/loop.ts';
import { logStep, takeBatch } from '../train/step.ts';
import type { AlignerState, FitSchedule, LatentPairs } from './fit.ts';
import type { AlignerConfig } from './options.ts';

/** The latents dense and off the tape, to be disposed of: a view where they are dense already. */
function denseCopy(latents: Tensor): Tensor {
  const own = detach(latents);
  const dense = compact(own);
  if (dense !== own) own.dispose();
  return own.engine.keep(dense);
}

/** One way to compute an iteration: what records it, and what copies its parameters in and out. */
interface Iteration {
  record(buffers: StepBuffers): void;
  load(): void;
  store(): void;
  dispose(): void;
}

/** What a fit reports. */
export interface FitReport {
  readonly iteration: number;
  /** Mean loss E(previous) − E(sampled) since the last report; NaN where there was no iteration. */
  readonly loss: number;
  /** Whether the signal stopped the fit here: `await aligner.state()` is where it can be resumed from. */
  readonly stopped: boolean;
}

/**
 * Learns the energy: each iteration takes a mini-batch of pairs, runs chains from the current model's latents, and
 * lowers the energy of the previous model's latents against that of the chains' ends (contrastive loss of the paper,
 * equation 5). The training loop replays the iteration.
 */
export class AlignerTrainer {
  readonly model: EnergyModel;
  /** Moving average of the model's weights, the same at first. */
  readonly average: EnergyModel;
  /** RMSprop's squares in the shapes of the weights. */
  readonly #squares: EnergyModel;
  readonly #engine: Engine;
  readonly #config: AlignerConfig;
  #iteration = 0;
  /** Since the last report. */
  #losses: number[] = [];

  constructor(engine: Engine, latent: number, config: AlignerConfig) {
    this.#engine = engine;
    this.#config = config;
    const make = () =>
      new EnergyModel(new Initializer(engine, config.seed, STREAM.energy), { ...config, latent });
    this.model = make();
    this.average = make();
    this.#squares = make();
    for (const tensor of this.#squares.parameters()) fill(tensor, 0);
  }

  dispose(): void {
    for (const model of [this.model, this.average, this.#squares]) model.dispose();
  }

  async state(): Promise<Omit<AlignerState, 'start'>> {
    const [model, average, squares] = await Promise.all([
      this.model.stateDict(),
      this.average.stateDict(),
      this.#squares.stateDict(),
    ]);
    return { iteration: this.#iteration, losses: Float32Array.from(this.#losses), model, average, squares };
  }

  load(state: Omit<AlignerState, 'start'>): void {
    this.model.loadStateDict(state.model);
    this.average.loadStateDict(state.average);
    this.#squares.loadStateDict(state.squares);
    this.#iteration = state.iteration;
    this.#losses = [...state.losses];
  }

  /** Runs all iterations that are left; reports at multiples of `every`, at the end, and where the signal stops it. */
  async *run(pairs: LatentPairs, { every = 1000, order, signal }: FitSchedule): AsyncGenerator<FitReport> {
    const { iterations, batch, seed } = this.#config;
    const scope = new Scope(this.#engine);
    try {
      const previous = scope.add(denseCopy(pairs.previous));
      const current = scope.add(denseCopy(pairs.current));
      const iteration = scope.add(this.#makeIteration({ previous, current }));
      const loop = scope.add(
        new TrainingLoop(this.#engine, {
          samples: previous.shape[0]!,
          batch,
          random: { seed, stream: STREAM.alignerOrder },
          order,
          record: iteration.record,
          nonFinite,
        }),
      );
      loop.step = this.#iteration;
      iteration.load();
      while (this.#iteration < iterations) {
        const end = Math.min(every * (Math.floor(this.#iteration / every) + 1), iterations);
        // One by one: a call takes only so many arguments.
        for (const loss of await loop.run(end - this.#iteration, { signal })) this.#losses.push(loss);
        this.#iteration = loop.step;
        iteration.store();
        yield this.#report(this.#iteration < end);
        stopIfAborted(signal, `the fit was stopped at iteration ${this.#iteration}`);
      }
    } finally {
      scope.dispose();
    }
  }

  #report(stopped: boolean): FitReport {
    const loss = mean(this.#losses);
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
    const state = new HiddenState(this.#engine, this.model.config);
    const sets = [this.model, this.#squares, this.average].map((model) => model.parameters());
    return {
      record: (buffers) => state.iterate({ ...this.#config, ...pairs, ...buffers }),
      load: () => state.exchange(sets, true),
      store: () => state.exchange(sets, false),
      dispose: () => state.dispose(),
    };
  }

  #plainIteration(pairs: LatentPairs): Iteration {
    const { steps, stepSize, learningRate, alpha, epsilon, emaDecay, variant, energyL2 } = this.#config;
    const parameters = this.model.parameters();
    const optimizer = rmsprop(parameters, { learningRate, alpha, epsilon });
    const { flat, state } = optimizer;
    const ema = new Ema(flat, emaDecay);
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
    const inFlat = [ema.average, state.squares].flatMap((values) => flat.viewsOf(values));
    const inModels = [this.average, this.#squares].flatMap((model) => model.parameters());
    const copy = (from: readonly Tensor[], to: readonly Tensor[]): void => {
      for (const [i, tensor] of from.entries()) copyInto(tensor, to[i]!, to[i]!.strides, 0);
    };
    return {
      record,
      load: () => copy(inModels, inFlat),
      store: () => copy(inFlat, inModels),
      dispose: () => {
        for (const item of [...inFlat, ema, optimizer]) item.dispose();
      },
    };
  }
}

function nonFinite(loss: number, iteration: number): EliError {
  return new EliError('NON_FINITE', `the aligner's loss is ${loss} at iteration ${iteration + 1}`, {
    hint: 'check the latents for huge values, or use a smaller stepSize or learningRate',
  });
}
