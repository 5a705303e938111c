import { EliError } from '../errors.ts';
import { auroc } from './policies/scores.ts';

/** How far latents are from those of the previous model, x from p; over rows i and dimensions j. */
export interface Drift {
  /** Overall: ‖mean(x − p)‖₂. Of a dimension: mean(xⱼ − pⱼ), with its sign. */
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

/** What a `DriftMeter` has measured. */
export interface DriftReport {
  readonly rows: number;
  readonly dim: number;
  readonly overall: BeforeAfter;
  /** One for each dimension, in order. */
  readonly dimensions: readonly BeforeAfter[];
}

/**
 * Measures how far the current model's latents have drifted from the previous model's, and how much of that alignment
 * takes back: latents of the same inputs, given in batches of any size; sums are in float64.
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
        `drift: ${length}, ${current.length} and ${aligned.length} numbers are not the same rows of ${this.#dim}`,
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

/** Sums over rows for one pair of latents: p the previous model's, x the others. */
class Sums {
  rows = 0;
  /** Σ ‖xᵢ − pᵢ‖ and Σ cos(xᵢ, pᵢ). */
  #distance = 0;
  #cosine = 0;
  /** Of each dimension: Σ (x − p), Σ (x − p)², Σ x p, Σ x², Σ p². */
  readonly #shift: Float64Array;
  readonly #squared: Float64Array;
  readonly #product: Float64Array;
  readonly #x2: Float64Array;
  readonly #p2: Float64Array;

  constructor(dim: number) {
    this.#shift = new Float64Array(dim);
    this.#squared = new Float64Array(dim);
    this.#product = new Float64Array(dim);
    this.#x2 = new Float64Array(dim);
    this.#p2 = new Float64Array(dim);
  }

  add(previous: Float32Array, others: Float32Array): void {
    const dim = this.#shift.length;
    for (let start = 0; start < previous.length; start += dim) {
      let squared = 0;
      let product = 0;
      let x2 = 0;
      let p2 = 0;
      for (let j = 0; j < dim; j++) {
        const p = previous[start + j]!;
        const x = others[start + j]!;
        const difference = x - p;
        this.#shift[j]! += difference;
        this.#squared[j]! += difference * difference;
        this.#product[j]! += x * p;
        this.#x2[j]! += x * x;
        this.#p2[j]! += p * p;
        squared += difference * difference;
        product += x * p;
        x2 += x * x;
        p2 += p * p;
      }
      this.#distance += Math.sqrt(squared);
      this.#cosine += cosineOf(product, x2, p2);
      this.rows++;
    }
  }

  overall(): Drift {
    const { rows } = this;
    return {
      meanShift: Math.sqrt(this.#shift.reduce((sum, shift) => sum + shift * shift, 0)) / rows,
      euclidean: this.#distance / rows,
      cosine: this.#cosine / rows,
    };
  }

  dimension(j: number): Drift {
    const { rows } = this;
    return {
      meanShift: this.#shift[j]! / rows,
      euclidean: Math.sqrt(this.#squared[j]! / rows),
      cosine: cosineOf(this.#product[j]!, this.#x2[j]!, this.#p2[j]!),
    };
  }
}

/** A vector of zeros has no direction: two such are alike (1), one beside another vector is not (0). */
function cosineOf(product: number, x2: number, p2: number): number {
  if (x2 === 0 || p2 === 0) return x2 === p2 ? 1 : 0;
  return product / (Math.sqrt(x2) * Math.sqrt(p2));
}

/**
 * How well energy tells latents of the previous model from others: the chance that one of the previous model's has the
 * lower energy. 1: always; 0.5: the energy sees no difference, as a good alignment leaves it.
 */
export function energyAuroc(previous: Float32Array, others: Float32Array): number {
  const scores = Float32Array.from([...previous, ...others], (energy) => -energy);
  const old = new Uint8Array(scores.length).fill(1, 0, previous.length);
  return auroc(scores, old);
}
