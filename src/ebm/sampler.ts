import type { Tensor } from '../tensor/tensor.ts';
import type { EnergyModel } from './energy-model.ts';
import type { Schedule } from './schedule.ts';

/** Where n chains are. */
export interface ChainState {
  /** [n, d] */
  readonly points: Tensor;
  /** E at the points [n]; absent where it has not been computed yet. */
  readonly energy?: Tensor;
  /** ∂E/∂x at the points [n, d]; absent where it has not been computed yet. */
  readonly gradient?: Tensor;
}

/** What a step may use. */
export interface StepContext {
  /** Number of the step, from 0. */
  readonly t: number;
  /** Limits of the points at this step, where the caller set some. */
  readonly box?: readonly [number, number];
  /** Fills in energy and gradient where they are missing. */
  evaluate(state: ChainState): Required<ChainState>;
  /** Standard normal numbers of this step, of the given shape. */
  normal(shape: readonly number[]): Tensor;
  /** log u with u uniform in (0, 1], one a chain: [n]. */
  logUniform(): Tensor;
}

export interface Step {
  readonly state: ChainState;
  /** 1 where the proposal was taken, else 0: [n]. Absent for samplers that take every one. */
  readonly accepted?: Tensor;
}

/** A sampler with its parameters tabulated for a number of steps. */
export interface Transition {
  /** Whether it draws random numbers. */
  readonly random: boolean;
  /** Whether it proposes and then accepts or rejects. */
  readonly metropolis: boolean;
  /** One step of all chains, recorded on the device: nothing is read back. Runs inside `engine.tidy`. */
  step(state: ChainState, context: StepContext): Step;
}

/** Options of a chain that an `EnergyModel`'s own kernels can carry out. */
export interface FusedOptions {
  readonly steps: number;
  readonly clamp?: readonly [number, number];
  readonly random?: { readonly seed: number; readonly stream?: number };
}

/** A way to move chains on any energy: `langevinSampler`, `mala`, `hmc`, `gradientDescent`, or your own. */
export interface Sampler {
  readonly name: string;
  /** Checks the parameters at every one of `steps` steps. @throws EliError `ARGUMENT`. */
  prepare(steps: number): Transition;
  /** The same chain by the kernels of an `EnergyModel`, which is faster: points [n, d] → [n, d]. */
  fused?(model: EnergyModel, start: Tensor, options: FusedOptions): Tensor;
}

/** Parameters that all samplers with noise share. */
export interface Tempered {
  /** T of the density exp(−E(x) / T); default 1. */
  readonly temperature?: Schedule;
}
