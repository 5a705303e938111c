import { EliError } from '../errors.ts';
import { auroc } from './policies/scores.ts';

/** How far latents x are from the previous model's latents p, over rows i and dimensions j. */
export interface Drift {
  /** Overall: ‖mean(x − p)‖₂. Of a dimension: mean(xⱼ − pⱼ), signed. */
  readonly meanShift: number;
  /** Overall: mean over rows of ‖xᵢ − pᵢ‖₂. Of a dimension: root mean square of xⱼ − pⱼ. */
  readonly euclidean: number;
  /** Overall: mean over rows of cos(xᵢ, pᵢ). Of a dimension: cos(x·ⱼ, p·ⱼ) over the rows. */
  readonly cosine: number;
}

/** Drift of the current model's latents before and after alignment. */
export interface BeforeAfter {
  /** Latents of the current model. */
  readonly before: Drift;
  /** The same latents aligned. */
  readonly after: Drift;
}

/** What a `DriftMeter` measured. */
export interface DriftReport {
  readonly rows: number;
  readonly dim: number;
  readonly overall: BeforeAfter;
  /** One for each dimension, in order. */
  readonly dimensions: readonly BeforeAfter[];
}

/**
 * Measures how far the current model's latents have drifted from the previous model's, and how much of the drift
 * alignment undoes. Takes latents of the same inputs in batches of any size; sums are in float64.
 */
export class DriftMeter {
  readonly #dim: number;
  readonly #before: Sums;
  readonly #after: Sums;

  constructor(dim: number) {
    this.#dim = dim;
    this.#before = new Sums(dim);
    this.#after = new Sums(dim);
  }

  /** Adds n rows of each, [n, dim] row-major. @throws EliError `SHAPE` when they do not pair up */
  add(previous: Float32Array, current: Float32Array, aligned: Float32Array): void {
    const { length } = previous;
    if (current.length !== length || aligned.length !== length || length % this.#dim !== 0) {
      throw new EliError(
        'SHAPE',
        `drift: ${length}, ${current.length} and ${aligned.length} numbers are not equally many rows of ${this.#dim}`,
      );
    }
    this.#before.add(previous, current);
    this.#after.add(previous, aligned);
  }

  /** @throws EliError `ARGUMENT` when no row was added */
  report(): DriftReport {
    const { rows } = this.#before;
    if (rows === 0) throw new EliError('ARGUMENT', 'drift: no rows were given');
    const both = (drift: (sums: Sums) => Drift): BeforeAfter => ({
      before: drift(this.#before),
      after: drift(this.#after),
    });
    return {
      rows,
      dim: this.#dim,
      overall: both((sums) => sums.overall()),
      dimensions: Array.from({ length: this.#dim }, (_, j) => both((sums) => sums.dimension(j))),
    };
  }
}

/** Sums over the rows of one pair of latents: p the previous model's, x the others. */
class Sums {
  rows = 0;
  /** Σ ‖xᵢ − pᵢ‖ and Σ cos(xᵢ, pᵢ). */
  #distance = 0;
  #cosine = 0;
  readonly #dimensions: PairSums[];

  constructor(dim: number) {
    this.#dimensions = Array.from({ length: dim }, () => new PairSums());
  }

  add(previous: Float32Array, others: Float32Array): void {
    const dim = this.#dimensions.length;
    for (let start = 0; start < previous.length; start += dim) {
      const row = new PairSums();
      for (let j = 0; j < dim; j++) {
        const p = previous[start + j]!;
        const x = others[start + j]!;
        this.#dimensions[j]!.add(p, x);
        row.add(p, x);
      }
      this.#distance += Math.sqrt(row.squared);
      this.#cosine += row.cosine();
      this.rows++;
    }
  }

  overall(): Drift {
    const { rows } = this;
    return {
      meanShift: Math.sqrt(this.#dimensions.reduce((sum, { shift }) => sum + shift * shift, 0)) / rows,
      euclidean: this.#distance / rows,
      cosine: this.#cosine / rows,
    };
  }

  dimension(j: number): Drift {
    const sums = this.#dimensions[j]!;
    return {
      meanShift: sums.shift / this.rows,
      euclidean: Math.sqrt(sums.squared / this.rows),
      cosine: sums.cosine(),
    };
  }
}

/** Σ (x − p), Σ (x − p)², Σ x p, Σ x² and Σ p² of two vectors. */
class PairSums {
  shift = 0;
  squared = 0;
  #product = 0;
  #x2 = 0;
  #p2 = 0;

  add(p: number, x: number): void {
    const difference = x - p;
    this.shift += difference;
    this.squared += difference * difference;
    this.#product += x * p;
    this.#x2 += x * x;
    this.#p2 += p * p;
  }

  /** A zero vector has no direction: two of them are alike (1), one and any other vector are not (0). */
  cosine(): number {
    if (this.#x2 === 0 || this.#p2 === 0) return this.#x2 === this.#p2 ? 1 : 0;
    return this.#product / (Math.sqrt(this.#x2) * Math.sqrt(this.#p2));
  }
}

/**
 * How well energy separates the previous model's latents from others: the probability that one of the previous model's
 * has the lower energy. 1: always; 0.5: the energy sees no difference, as after a good alignment.
 */
export function energyAuroc(previous: Float32Array, others: Float32Array): number {
  const scores = Float32Array.from([...previous, ...others], (energy) => -energy);
  const old = new Uint8Array(scores.length).fill(1, 0, previous.length);
  return auroc(scores, old);
}
