import { cast } from '../ops/core/cast.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * What a network computes with: f32, or f16 activations and gradients beside f32 parameters, statistics and losses.
 * Sums are f32 in both.
 */
export type Precision = 'f32' | 'mixed';

export const PRECISIONS: readonly Precision[] = ['f32', 'mixed'];

/** Inputs of a network in a precision: layers compute in the dtype of what they get. */
export function inPrecision(precision: Precision, inputs: Tensor): Tensor {
  return precision === 'mixed' && inputs.dtype === 'f32' ? cast(inputs, 'f16') : inputs;
}
