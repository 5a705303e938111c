import { EliError } from '../errors.ts';
import { add, mul } from '../ops/binary.ts';
import { mean } from '../ops/reduce.ts';
import type { Tensor } from '../tensor/tensor.ts';

/*
 * What keeps the fit of an energy from running away. Latents are limited by the samplers' option `clamp`,
 * gradients by the optimisers' `clipNorm`.
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
