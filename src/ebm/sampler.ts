import type { Tensor } from '../tensor/tensor.ts';
import type { Schedule } from './schedule.ts';

/** What to do about a sampler without options. */
export const STEP_SIZE = 'give at least { stepSize: 0.1 }';

/** Where n chains are. */
export interface ChainState {
  /** [n, d] */
  readonly points: Tensor;
  /** E at the points [n]; absent until it is computed. */
  readonly energy?: Tensor;
  /** ∂E/∂x at the points [n, d]; absent until it is computed. */
  readonly gradient?: Tensor;
}

/** What a step may use. */
export interface StepContext {
  /** Number of the step, from 0. */
  readonly t: number;
  /** Limits of the points at this step, if the caller set any. */
  readonly box?: readonly [number, number];
  /** Fills in energy and gradient where they are missing. */
  evaluate(state: ChainState): Required<ChainState>;
  /** Normal random numbers of this step, in the given shape; default deviation 1. */
  normal(shape: readonly number[], deviation?: number): Tensor;
  /** log u with u uniform in (0, 1], one for each chain: [n]. */
  logUniform(): Tensor;
}

/** What one step of a sampler returns. */
export interface Step {
  readonly state: ChainState;
  /** 1 where the proposal was accepted, else 0: [n]. Absent for samplers that accept every one. */
  readonly accepted?: Tensor;
}

/** A sampler with its parameters tabulated for a number of steps. */
export interface Transition {
  /** Whether it draws random numbers. */
  readonly random: boolean;
  /** Whether it proposes and then accepts or rejects. */
  readonly metropolis: boolean;
  /** ε and σ of each step, if the steps are x ← x − ε ∂E/∂x + σ ξ: an energy's kernels may then run instead of `step`. */
  readonly langevin?: { readonly stepSizes: Float64Array; readonly sigmas: Float64Array };
  /** One step of all chains, recorded on the device; nothing is read back. Runs inside `engine.tidy`. */
  step(state: ChainState, context: StepContext): Step;
}

/** A way to move chains on any energy: `langevinSampler`, `mala`, `hmc`, `gradientDescent` or your own. */
export interface Sampler {
  readonly name: string;
  /** Checks the parameters at every one of `steps` steps. @throws EliError `ARGUMENT`. */
  prepare(steps: number): Transition;
}

/** Parameters that all samplers with noise share. */
export interface Tempered {
  /** T of the density exp(−E(x) / T); default 1. */
  readonly temperature?: Schedule;
}
