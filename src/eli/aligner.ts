import { stopIfAborted } from '../abort.ts';
import type { Chains } from '../ebm/chains.ts';
import { sample } from '../ebm/sample.ts';
import { gradientDescent } from '../ebm/unadjusted.ts';
import { checkEngine, checkWhole, EliError } from '../errors.ts';
import { readFormat } from '../files/formats.ts';
import { wholeNumber } from '../files/json.ts';
import {
  type Safetensors,
  type SafetensorsInput,
  toFloat32,
  writeSafetensors,
} from '../files/safetensors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { StateDict } from '../nn/module.ts';
import { stateFromTensors, stateToTensors } from '../nn/state-file.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';
import type { AlignerState, FitSchedule, LatentPairs } from './fit.ts';
import { CLOSED_FORMS, type ClosedForm, checkPaired, fitMap } from './maps/closed-forms.ts';
import type { LatentMap, MapFormat } from './maps/map.ts';
import { type AlignerConfig, type AlignerOptions, alignerConfig } from './options.ts';
import { AlignerTrainer, type FitReport } from './trainer.ts';

/** What a fit reports. */
export interface FitProgress extends FitReport {
  readonly iterations: number;
  /** The aligner as it stands, for measurements along the way. */
  readonly aligner: EnergyAligner;
}

/** How a fit is followed, stopped and resumed. */
export interface FitHooks extends FitSchedule {
  /** Called (and awaited) every `every` iterations, at the end, and where `signal` stops the fit. */
  readonly onProgress?: (progress: FitProgress) => void | Promise<void>;
  /** Resumes from what `state()` returned, instead of starting anew. */
  readonly resume?: AlignerState;
}

const FORMAT = 'eli-webgpu aligner' satisfies MapFormat;

/**
 * ELI's aligner (Joseph et al., CVPR 2022): an energy model on which latents of the previous model are likely and
 * those of the current one are not, and Langevin chains that move latents down it.
 */
export class EnergyAligner implements LatentMap {
  readonly engine: Engine;
  readonly latent: number;
  readonly config: AlignerConfig;
  readonly #trainer: AlignerTrainer;
  /** The map to where chains start; none if they start at the latents as they are. */
  #start: ClosedForm | undefined;

  private constructor(engine: Engine, latent: number, config: AlignerConfig) {
    this.engine = engine;
    this.latent = latent;
    this.config = config;
    this.#trainer = new AlignerTrainer(engine, latent, config);
  }

  /**
   * Learns an aligner from latents of current-task data: no data of the previous task is needed.
   * @throws EliError `SHAPE` if the latents do not pair up, `CONFIG`, `NON_FINITE` naming the iteration at which the loss
   * stopped being finite.
   * @throws AbortError where `hooks.signal` stops it.
   */
  static async fit(
    engine: Engine,
    pairs: LatentPairs,
    options: AlignerOptions = {},
    hooks: FitHooks = {},
  ): Promise<EnergyAligner> {
    const steps = EnergyAligner.fitting(engine, pairs, options, hooks);
    for (;;) {
      const step = await steps.next();
      if (step.done === true) return step.value;
      try {
        await hooks.onProgress?.(step.value);
      } catch (error) {
        // Into the generator, which frees what it holds and rethrows it.
        await steps.throw(error);
      }
    }
  }

  /**
   * `fit` as an async iterator: a report every `every` iterations and at the end. Leaving the loop early stops the fit
   * and keeps `report.aligner` as it stands; after an error it is disposed of.
   */
  static async *fitting(
    engine: Engine,
    pairs: LatentPairs,
    options: AlignerOptions = {},
    hooks: Omit<FitHooks, 'onProgress'> = {},
  ): AsyncGenerator<FitProgress, EnergyAligner, undefined> {
    stopIfAborted(hooks.signal, 'the fit was stopped before its first iteration');
    const config = alignerConfig(options);
    checkPairs(engine, pairs, config);
    const { current } = pairs;
    const [n, d] = current.shape as [number, number];
    checkHooks(hooks, n, config);
    const aligner = new EnergyAligner(engine, d, config);
    const { iterations } = config;
    let started = current;
    try {
      const { start } = config;
      if (hooks.resume !== undefined) aligner.#load(hooks.resume);
      else if (start !== 'current') aligner.#start = await fitMap(start, pairs);
      started = aligner.#start?.align(current) ?? current;
      for await (const report of aligner.#trainer.run({ ...pairs, current: started }, hooks)) {
        yield { ...report, iterations, aligner };
      }
      return aligner;
    } catch (error) {
      aligner.dispose();
      throw error;
    } finally {
      if (started !== current) started.dispose();
    }
  }

  /**
   * Moves latents [n, d] by Langevin steps on the averaged energy; returns new ones [n, d].
   * @throws EliError `SHAPE` or `DTYPE` unless they are f32 [n, latent].
   */
  align(latents: Tensor): Tensor {
    return this.#sample(latents, false).latents;
  }

  /** As `align`, with every point of the chains, their starts first: [steps + 1, n, d]. */
  alignWithTrajectory(latents: Tensor): { readonly latents: Tensor; readonly trajectory: Tensor } {
    return this.engine.tidy(() => {
      const { latents: ends, trajectory } = this.#sample(latents, true);
      return { latents: ends, trajectory: trajectory!.points };
    });
  }

  #sample(latents: Tensor, trajectory: boolean): Chains {
    const { average } = this.#trainer;
    const { steps, stepSize } = this.config;
    average.checkLatents(latents);
    return this.engine.tidy(() =>
      sample(average, this.#start?.align(latents) ?? latents, gradientDescent({ stepSize }), {
        steps,
        trajectory,
        keepStart: trajectory,
      }),
    );
  }

  /** Energy of latents [n, d] → [n]: low for those like the previous model's. */
  energy(latents: Tensor): Tensor {
    return this.engine.tidy(() => this.#trainer.average.energy(latents));
  }

  /** Reads the complete state of the fit: weights, their average, RMSprop's squares, where chains start. */
  async state(): Promise<AlignerState> {
    return { ...(await this.#trainer.state()), start: this.#start?.state() ?? {} };
  }

  #load(state: AlignerState): void {
    this.#trainer.load(state);
    const { start } = this.config;
    if (start !== 'current') this.#start = CLOSED_FORMS[start].fromState(state.start, this.latent);
  }

  /** Writes the aligner to a safetensors file, atomically. @throws EliError `FILE`. */
  async save(path: string): Promise<void> {
    const state = await this.state();
    await writeSafetensors(path, stateTensors(state), {
      format: FORMAT,
      latent: String(this.latent),
      iteration: String(state.iteration),
      config: JSON.stringify(this.config),
    });
  }

  /** Reads an aligner that `save` wrote. @throws EliError `FILE` or `FORMAT` naming the file and what is wrong. */
  static load(engine: Engine, path: string): Promise<EnergyAligner> {
    return readFormat(path, { [FORMAT]: (file) => EnergyAligner.fromFile(engine, file) });
  }

  /** The aligner in a file that was read. @throws EliError saying what is wrong with it */
  static fromFile(engine: Engine, file: Safetensors): EnergyAligner {
    const { config, latent, iteration } = file.metadata;
    const options = alignerConfig(JSON.parse(config ?? '{}') as AlignerOptions);
    const aligner = new EnergyAligner(engine, wholeNumber('latent', latent && Number(latent)), options);
    try {
      aligner.#load(stateOf(file, wholeNumber('iteration', iteration && Number(iteration))));
      return aligner;
    } catch (error) {
      aligner.dispose();
      throw error;
    }
  }

  /** Frees what the aligner holds on the device. */
  dispose(): void {
    this.#trainer.dispose();
  }

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkPairs(engine: Engine, pairs: LatentPairs, { batch }: AlignerConfig): void {
  checkEngine(engine);
  checkPaired('EnergyAligner.fit', pairs);
  for (const [name, x] of Object.entries(pairs) as [string, Tensor][]) {
    if (x.engine !== engine)
      throw new EliError('WRONG_ENGINE', `EnergyAligner.fit: the ${name} latents are on another engine`);
    checkDType('EnergyAligner.fit', x, 'f32');
  }
  const n = pairs.current.shape[0]!;
  if (n >= batch) return;
  throw new EliError('SHAPE', `EnergyAligner.fit: ${n} pairs of latents are fewer than a batch of ${batch}`, {
    hint: 'give more latents or a smaller `batch`',
  });
}

function checkHooks(
  { every = 1, order }: FitHooks,
  samples: number,
  { iterations, batch }: AlignerConfig,
): void {
  checkWhole('EnergyAligner.fit: every', every, 1);
  const needed = iterations * batch;
  if (order === undefined || (order.length >= needed && order.every((index) => index < samples))) return;
  throw new EliError(
    'ARGUMENT',
    `EnergyAligner.fit: order must hold ${needed} indices below ${samples}, it has ${order.length}`,
  );
}

const PARTS = ['model', 'average', 'squares', 'start'] as const;

/** The tensors of a state as a safetensors file holds them, names prefixed. */
export function stateTensors(state: AlignerState, prefix = ''): Record<string, SafetensorsInput> {
  const { losses } = state;
  return Object.assign(
    {},
    ...PARTS.map((part) => stateToTensors(state[part], `${prefix}${part}.`)),
    losses.length > 0 && { [`${prefix}losses`]: { dtype: 'F32', shape: [losses.length], data: losses } },
  );
}

/** The state that `stateTensors` wrote. */
export function stateOf({ tensors }: Safetensors, iteration: number, prefix = ''): AlignerState {
  const [model, average, squares, start] = PARTS.map((part) =>
    stateFromTensors(tensors, `${prefix}${part}.`),
  ) as [StateDict, StateDict, StateDict, StateDict];
  const entry = tensors[`${prefix}losses`];
  const losses = entry === undefined ? new Float32Array(0) : toFloat32(entry);
  return { iteration, losses, model, average, squares, start };
}
