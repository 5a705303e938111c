import type { FlatParameters } from '../nn/flat.ts';
import { copyInto } from '../ops/views.ts';
import { launch1d } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Exponential moving average of flat parameters, initially a copy of them. */
export class Ema {
  readonly average: Tensor;
  readonly decay: number;
  readonly #flat: FlatParameters;

  constructor(flat: FlatParameters, decay: number) {
    this.#flat = flat;
    this.decay = decay;
    this.average = flat.like(true);
  }

  /**
   * average ← decay · average + (1 − decay) · parameters. With a loss scale, `hyper` is the optimiser's `state.hyper`: the
   * update is skipped where the step was.
   */
  update(hyper?: Tensor): void {
    launch1d(this.average.engine, 'optim/ema.wgsl', this.average.size, {
      storages: [this.average, this.#flat.values, hyper ?? this.#flat.values].map((t) => t.storage),
      overrides: { SCALED: hyper === undefined ? 0 : 1 },
      params: { n: this.average.size, decay: this.decay, one_minus_decay: 1 - this.decay },
    });
  }

  /** Runs `fn` with the average in place of the parameters, and restores them. */
  async during<T>(fn: () => Promise<T>): Promise<T> {
    const { values } = this.#flat;
    const own = this.#flat.like(true);
    copyInto(this.average, values);
    try {
      return await fn();
    } finally {
      copyInto(own, values);
      own.dispose();
    }
  }

  /** Frees the averages. */
  dispose(): void {
    this.average.dispose();
  }
}
