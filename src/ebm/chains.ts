import type { Tensor } from '../tensor/tensor.ts';

/** Points and energies along n chains, after steps burnIn + thin, burnIn + 2 thin, … */
export interface Trajectory {
  /** [k, n, d] */
  readonly points: Tensor;
  /** [k, n] */
  readonly energies: Tensor;
}

/** What `sample` returns. */
export interface Chains {
  /** Ends of the chains, [n, d]. */
  readonly latents: Tensor;
  /** Acceptance rate of each chain after `burnIn`, [n]; MALA and HMC only. */
  readonly acceptance?: Tensor;
  readonly trajectory?: Trajectory;
}

/**
 * How chains are computed; all agree within rounding. `auto`: the fastest that the options allow; `plain`: ops and
 * automatic differentiation; `fused`: the energy's kernel for whole chains, with any options; `hidden`: its kernels that
 * run chains in the first hidden layer.
 */
export type SamplerVariant = 'auto' | 'plain' | 'fused' | 'hidden';

/** Langevin steps x ← clamp(x − ε_t ∂E/∂x + σ_t ξ), as the kernels of an energy take them. */
export interface LangevinChain {
  readonly steps: number;
  /** ε_t */
  readonly stepSizes: Float64Array;
  /** σ_t */
  readonly sigmas: Float64Array;
  readonly clamp?: readonly [number, number];
  /** Present if any σ is not 0: ξ of step t is what `randomNormal` draws for the points' shape and `step: t`. */
  readonly random?: { readonly seed: number; readonly stream: number };
  /** Whether to return every point, the start included: steps + 1 points. */
  readonly trajectory: boolean;
}
