import { detach, grad } from '../autograd/tape.ts';
import { checkNumber, EliError, POSITIVE } from '../errors.ts';
import { add, mul, sub } from '../ops/binary.ts';
import { mean, sum } from '../ops/reduce.ts';
import { affine, inside } from '../ops/unary.ts';
import { type RandomSource, randomNormal, randomUniform } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkPoints, type Energy, slopes } from './energy.ts';
import { EnergyModel } from './energy-model.ts';

/*
 * Losses that fit the score s(x) = −∂E/∂x of an energy to that of the data, without chains. Their gradients with respect
 * to the parameters are second and third derivatives of E, so their intermediate results stay on the tape: differentiate
 * inside the `engine.tidy` in which the loss is made.
 */

/** Settings of `denoisingScoreMatching`. */
export interface DenoisingOptions {
  /** σ: standard deviation of the noise added to the data. */
  readonly sigma: number;
  readonly random: RandomSource;
}

/**
 * Denoising score matching (Vincent, 2011): ½ E ‖s(x + σξ) + ξ/σ‖² over data [n, d], summed over dimensions; a scalar on
 * the tape. The score of the data blurred by the noise minimises it.
 * @throws EliError `ARGUMENT`, `SHAPE`, `DTYPE`.
 */
export function denoisingScoreMatching(energy: Energy, data: Tensor, options: DenoisingOptions): Tensor {
  checkPoints('denoisingScoreMatching', data);
  const { sigma } = options;
  checkNumber('denoisingScoreMatching: sigma', sigma, POSITIVE);
  const noise = randomNormal(data.engine, data.shape, options.random);
  const noisy = add(detach(data), mul(noise, sigma));
  const { values, gradient } = slopes('denoisingScoreMatching', energy, noisy, true);
  const rest = sub(gradient, mul(noise, 1 / sigma));
  return reachAll(mul(mean(sum(mul(rest, rest), 1)), 0.5), values);
}

/** Settings of `slicedScoreMatching`. */
export interface SlicedOptions {
  readonly random: RandomSource;
  /** Directions v: ±1 in every dimension (default), or standard normal. */
  readonly directions?: 'rademacher' | 'normal';
  /** Whether ½ (vᵀs)² is replaced by its mean over directions, ½ ‖s‖² (SSM-VR): less variance; default true. */
  readonly varianceReduced?: boolean;
}

/**
 * Sliced score matching (Song et al., 2019): E [vᵀ ∇(vᵀ s(x)) + ½ (vᵀ s(x))²] over data [n, d] with one direction v for
 * each row; a scalar on the tape. The score of the data itself minimises it.
 * @throws EliError `ARGUMENT` for an `EnergyModel`, whose second derivatives with respect to x are zero (leaky ReLUs);
 * `NOT_DIFFERENTIABLE` for an energy linear in x; `SHAPE`, `DTYPE`.
 */
export function slicedScoreMatching(energy: Energy, data: Tensor, options: SlicedOptions): Tensor {
  const { random, directions = 'rademacher', varianceReduced = true } = options;
  checkPoints('slicedScoreMatching', data);
  if (energy instanceof EnergyModel) {
    throw new EliError(
      'ARGUMENT',
      'slicedScoreMatching: an EnergyModel is piecewise linear, so its curvature is zero',
      { hint: 'use denoisingScoreMatching, or an energy of smooth functions (softplus, silu, tanh)' },
    );
  }
  const { engine, shape } = data;
  const v =
    directions === 'normal'
      ? randomNormal(engine, shape, random)
      : affine(inside(randomUniform(engine, shape, random), 0.5, 1), 2, -1);
  const { leaf, values, gradient } = slopes('slicedScoreMatching', energy, data, true);
  const along = sum(mul(gradient, v), 1);
  const curvature = grad(sum(along), [leaf], { createGraph: true })[0]!;
  const squares = varianceReduced ? sum(mul(gradient, gradient), 1) : mul(along, along);
  return reachAll(mean(sub(mul(squares, 0.5), sum(mul(curvature, v), 1))), values);
}

/**
 * The same loss, made to depend on every parameter: a score does not depend on the energy's constant (such as the last
 * bias of a network), whose gradient is then 0 instead of an error.
 */
function reachAll(loss: Tensor, energies: Tensor): Tensor {
  return add(loss, mul(mean(energies), 0));
}
