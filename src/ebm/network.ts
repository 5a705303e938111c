import type { Tensor } from '../tensor/tensor.ts';

/** Sizes of an `EnergyModel`. */
export interface EnergyModelConfig {
  /** Size d of a latent. */
  readonly latent: number;
  /** Units of each hidden layer. */
  readonly hidden: number;
  /** Hidden layers, 0 to 7; with 0 the energy is linear. */
  readonly layers: number;
  /** Slope of the leaky ReLU for negative values. */
  readonly slope: number;
}

/**
 * What the fused kernels can run: latents and hidden layers that fit in workgroup memory (16 KiB is guaranteed), and at
 * most eight linear layers.
 */
export const SIZES = {
  latent: { from: 1, to: 2048 },
  hidden: { from: 1, to: 512 },
  layers: { from: 0, to: 7 },
} as const;

/** What the kernels of an `EnergyModel` need of it. */
export interface EnergyNetwork {
  readonly config: EnergyModelConfig;
  /** Weight [out, in] and bias [out] of each linear layer in turn. */
  parameters(): Tensor[];
}
