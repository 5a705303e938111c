import { permutation, type RandomSource } from '../tensor/random.ts';

/**
 * Sample indices of mini-batches in shuffled epochs, without their last incomplete mini-batch. Any mini-batch k of the
 * endless sequence is found without going through those before.
 */
export class BatchOrder {
  readonly #samples: number;
  readonly #batch: number;
  readonly #random: Omit<RandomSource, 'step'>;
  #epoch = -1;
  #order = new Uint32Array(0);

  constructor(samples: number, batch: number, random: Omit<RandomSource, 'step'>) {
    this.#samples = samples;
    this.#batch = batch;
    this.#random = random;
  }

  /** Complete mini-batches per epoch. */
  get batchesPerEpoch(): number {
    return Math.floor(this.#samples / this.#batch);
  }

  /** Indices of mini-batches `first` … `first + count − 1`, u32 [count · batch]. */
  take(first: number, count: number): Uint32Array<ArrayBuffer> {
    const out = new Uint32Array(count * this.#batch);
    for (let i = 0; i < count; i++) {
      const epoch = Math.floor((first + i) / this.batchesPerEpoch);
      if (epoch !== this.#epoch) {
        this.#order = permutation(this.#samples, { ...this.#random, step: epoch });
        this.#epoch = epoch;
      }
      const at = ((first + i) % this.batchesPerEpoch) * this.#batch;
      out.set(this.#order.subarray(at, at + this.#batch), i * this.#batch);
    }
    return out;
  }
}
