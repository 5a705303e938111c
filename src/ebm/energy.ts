import { detach, grad, isRecording } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import { sum } from '../ops/reduce.ts';
import { expectShape, showShape } from '../tensor/shape.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain, SamplerVariant } from './chains.ts';

/**
 * An energy over points of ℝᵈ: the density is proportional to exp(−E(x) / T). Any function made of differentiable ops is
 * one; so is `EnergyModel`.
 */
export interface Energy {
  /** Energies of points [n, d] → [n], each by its own row, made of differentiable ops. */
  energy(points: Tensor): Tensor;
  /** Energy [n] and its gradient [n, d], off the tape, if there is a faster way than automatic differentiation. */
  energyAndGradient?(points: Tensor): { energy: Tensor; gradient: Tensor };
  /**
   * Langevin chains from the start [n, d] by kernels of this energy, off the tape, inside a tidy scope; undefined if ops
   * are faster or the variant is `plain`.
   * @throws EliError `ARGUMENT` if the kernels of the variant cannot run such a chain.
   */
  chains?(start: Tensor, chain: LangevinChain, variant: SamplerVariant): Chains | undefined;
}

/** @throws EliError `SHAPE` or `DTYPE` unless the points are f32 [n, d]. */
export function checkPoints(what: string, points: Tensor): void {
  checkDType(what, points, 'f32');
  expectShape(`${what}: points`, points.shape, ['n', 'd']);
}

/** Energies of points [n, d] → [n], on the tape. @throws EliError `SHAPE` if the energy returns another shape. */
export function energyOf(what: string, energy: Energy, points: Tensor): Tensor {
  checkPoints(what, points);
  const values = energy.energy(points);
  const where = `${what}: energies of points ${showShape(points.shape)}`;
  expectShape(where, values.shape, [points.shape[0]!], 'sum over the last axis, or reshape [n, 1] to [n]');
  return values;
}

/**
 * Energy [n] and ∂E/∂x [n, d] of points [n, d], both off the tape.
 * @param plain by automatic differentiation, even if the energy has a faster way
 */
export function evaluate(
  what: string,
  energy: Energy,
  points: Tensor,
  plain = false,
): { energy: Tensor; gradient: Tensor } {
  if (energy.energyAndGradient !== undefined && !plain) return energy.energyAndGradient(points);
  const { engine } = points;
  return engine.tidy(() => {
    const { values, gradient } = slopes(what, energy, points, false);
    return { energy: detach(values), gradient };
  });
}

/**
 * Energies of points and ∂E/∂x, with the leaf it was taken at, which a second derivative needs.
 * @param createGraph whether the gradient itself is on the tape
 * @throws EliError `NOT_DIFFERENTIABLE` if nothing is recorded (inside `noGrad`), or E does not depend on x through ops.
 */
export function slopes(
  what: string,
  energy: Energy,
  points: Tensor,
  createGraph: boolean,
): { leaf: Tensor; values: Tensor; gradient: Tensor } {
  if (!isRecording(points.engine)) {
    throw new EliError('NOT_DIFFERENTIABLE', `${what} needs gradients of the energy, and recording is off`, {
      hint: 'call it outside noGrad: what it returns is off the tape anyway',
    });
  }
  const leaf = detach(points);
  leaf.requiresGrad = true;
  const values = energyOf(what, energy, leaf);
  return { leaf, values, gradient: grad(sum(values), [leaf], { createGraph })[0]! };
}
