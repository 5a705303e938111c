import { EliError } from '../errors.ts';
import { greaterEqual, mul } from '../ops/binary.ts';
import { affine } from '../ops/unary.ts';
import { full } from '../tensor/create.ts';
import { type RandomSource, randomUniform } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';

/**
 * Sets each element to 0 with probability p and scales the others by 1 / (1 − p), in training only (Srivastava et al.,
 * JMLR 2014). With a step on the device as `random.step` a captured program draws a new mask in every replay.
 */
export class Dropout extends Module {
  readonly #probability: number;
  readonly #random: RandomSource;

  /** @throws EliError `ARGUMENT` unless 0 ≤ p < 1 */
  constructor(probability: number, random: RandomSource) {
    super();
    if (!(probability >= 0 && probability < 1)) {
      throw new EliError('ARGUMENT', `dropout with probability ${probability}: it must be from 0 to below 1`);
    }
    this.#probability = probability;
    this.#random = random;
  }

  forward(x: Tensor): Tensor {
    const p = this.#probability;
    if (!this.training || p === 0) return x;
    const drawn = randomUniform(x.engine, x.shape, this.#random);
    const kept = greaterEqual(drawn, full(x.engine, [1], p));
    return mul(x, affine(kept, 1 / (1 - p), 0));
  }
}
