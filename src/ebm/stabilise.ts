import { EliError } from '../errors.ts';
import { add, div, maximum, mul } from '../ops/binary.ts';
import { mean, sum } from '../ops/reduce.ts';
import { sqrt } from '../ops/unary.ts';
import { full } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

/*
 * What keeps the fit of an energy from running away. Latents are limited by the samplers' option `clamp`.
 */

/**
 * Σ mean(E²) over batches of energies, as of the data and of the samples: added to a contrastive loss with a small
 * weight it keeps energies near 0, where the loss alone sees only their difference (Du and Mordatch, 2019).
 * On the tape; a scalar.
 * @throws EliError `ARGUMENT` for no energies.
 */
export function energyL2(...energies: readonly Tensor[]): Tensor {
  const squares = energies.map((energy) => mean(mul(energy, energy)));
  if (squares.length === 0) throw new EliError('ARGUMENT', 'energyL2: no energies were given');
  return squares.reduce((a, b) => add(a, b));
}

/**
 * Scales gradients together so that their norm as one vector is at most `maxNorm` (Pascanu et al., 2013), on the
 * device: their direction stays, and gradients within the limit keep their bits. The norm before is returned too, as
 * a scalar tensor. Off the tape when the gradients are.
 * @throws EliError `ARGUMENT` for no gradients, or a limit that is not finite and above 0.
 */
export function clipByGlobalNorm(
  gradients: readonly Tensor[],
  maxNorm: number,
): { gradients: Tensor[]; norm: Tensor } {
  const [first] = gradients;
  if (first === undefined) throw new EliError('ARGUMENT', 'clipByGlobalNorm: no gradients were given');
  if (!(maxNorm > 0 && Number.isFinite(maxNorm))) {
    throw new EliError('ARGUMENT', `clipByGlobalNorm: maxNorm is ${maxNorm}, must be finite and above 0`);
  }
  return first.engine.tidy(() => {
    const norm = sqrt(gradients.map((g) => sum(mul(g, g))).reduce((a, b) => add(a, b)));
    const limit = full(first.engine, [], maxNorm);
    // maxNorm / maxNorm is 1: what is within the limit is not rounded.
    const factor = div(limit, maximum(norm, limit));
    return { gradients: gradients.map((g) => mul(g, factor)), norm };
  });
}
