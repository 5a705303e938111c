import { div, lessEqual, mul } from '../ops/binary.ts';
import { sum } from '../ops/reduce.ts';
import { inside } from '../ops/unary.ts';
import { reshape } from '../ops/views.ts';
import { where } from '../ops/where.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { ChainState, Step, StepContext } from './sampler.ts';

/**
 * Accepts each chain's proposal with probability min(1, exp(logRatio)) (Metropolis et al., 1953; Hastings, 1970), on the
 * device. A proposal outside the box is rejected, so that the chain samples the density restricted to the box. WGSL
 * promises nothing about comparisons with NaN: a box should keep points away from where the energy is NaN.
 * @param logRatio log of π(proposal) q(old | proposal) / π(old) q(proposal | old), [n]
 */
export function metropolis(
  old: Required<ChainState>,
  proposal: Required<ChainState>,
  logRatio: Tensor,
  context: StepContext,
): Step {
  const n = logRatio.size;
  let accepted = lessEqual(context.logUniform(), logRatio);
  if (context.box !== undefined) accepted = mul(accepted, insideBox(proposal.points, context.box));
  const rows = reshape(accepted, [n, 1]);
  return {
    state: {
      points: where(rows, proposal.points, old.points),
      energy: where(accepted, proposal.energy, old.energy),
      gradient: where(rows, proposal.gradient, old.gradient),
    },
    accepted,
  };
}

/** 1 for points with all elements in the box, else 0: [n, d] → [n]. */
function insideBox(points: Tensor, [low, high]: readonly [number, number]): Tensor {
  return inside(sum(inside(points, low, high), 1), points.shape[1]! - 0.5, points.shape[1]! + 0.5);
}

/** ½ Σ x² / m over the dimensions: [n, d] → [n]; m is a number or a tensor [d]. */
export function halfSquares(x: Tensor, m: number | Tensor = 1): Tensor {
  return mul(sum(div(mul(x, x), m), 1), 0.5);
}
