import { checkNumber, EliError, SHARE_BELOW_1 } from '../errors.ts';
import { greaterEqual, mul } from '../ops/binary.ts';
import { cast } from '../ops/core/cast.ts';
import { affine } from '../ops/unary.ts';
import { full } from '../tensor/create.ts';
import { type RandomSource, randomUniform } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';
import { floatDType, type Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';

/**
 * Sets each element to 0 with probability p and scales the others by 1 / (1 − p), in training only (Srivastava et al.,
 * JMLR 2014). The mask depends on seed, stream and step only, so a resumed training repeats it; each layer needs its own
 * stream. The step is `random.step` if given, else that of `useStep`, which the trainer calls: it is read on the device,
 * so every replay of a captured program has a new mask.
 */
export class Dropout extends Module {
  readonly #probability: number;
  readonly #random: RandomSource;
  #step: Tensor | undefined;

  /** @throws EliError `ARGUMENT` unless 0 ≤ p < 1 */
  constructor(probability: number, random: RandomSource) {
    super();
    checkNumber('dropout: probability', probability, SHARE_BELOW_1);
    this.#probability = probability;
    this.#random = { stream: STREAM.dropout, ...random };
  }

  override useStep(step: Tensor): void {
    this.#step = step;
  }

  /** @throws EliError `ARGUMENT` in training without a step: every mask would be the same */
  forward(x: Tensor): Tensor {
    const p = this.#probability;
    if (!this.training || p === 0) return x;
    const step = this.#random.step ?? this.#step;
    if (step === undefined) {
      throw new EliError('ARGUMENT', 'dropout has no step: it would draw the same mask every time', {
        hint: 'give random.step, or call useStep of the model with a counter on the device, as the trainer does',
      });
    }
    const mask = x.engine.tidy(() => {
      const drawn = randomUniform(x.engine, x.shape, { ...this.#random, step });
      return affine(greaterEqual(drawn, full(x.engine, [1], p)), 1 / (1 - p), 0);
    });
    return mul(x, cast(mask, floatDType('dropout', x)));
  }
}
