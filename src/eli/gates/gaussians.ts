import { EliError } from '../../errors.ts';
import { mul, sub } from '../../ops/binary.ts';
import { gather } from '../../ops/gather.ts';
import { matmul } from '../../ops/matmul.ts';
import { sum } from '../../ops/reduce.ts';
import { logSumExp } from '../../ops/softmax.ts';
import { affine } from '../../ops/unary.ts';
import { concat } from '../../ops/views.ts';
import { tensor } from '../../tensor/create.ts';
import { withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { addRidge, cholesky, invertLower, transposed } from '../cholesky.ts';
import { meanRow, scatter } from '../moments.ts';

/** Means and covariances of classes: all that is kept of the data. */
export interface ClassMoments {
  /** Samples of each class, [c]. */
  readonly counts: Float32Array<ArrayBuffer>;
  /** [c, k] */
  readonly means: Float32Array<ArrayBuffer>;
  /** [c, k, k], or [1, k, k] where the classes share one. */
  readonly covariances: Float32Array<ArrayBuffer>;
}

/**
 * Moments of x [n, k] by class; without labels all rows are one class. Classes with fewer than two samples are left out.
 * @param covariance whether each class has its own covariance, or all share one
 * @throws EliError `SHAPE` when there are not as many labels as rows
 */
export async function classMoments(
  x: Tensor,
  labels: ArrayLike<number> | undefined,
  covariance: 'class' | 'shared',
): Promise<ClassMoments> {
  const [n, k] = x.shape as [number, number];
  const known = labels ?? new Uint8Array(n);
  if (known.length !== n)
    throw new EliError('SHAPE', `${known.length} labels do not fit the ${n} rows of the data`);
  const rows = Uint32Array.from({ length: n }, (_, i) => i);
  const classes = [...new Set(Array.from(known))]
    .sort((a, b) => a - b)
    .map((label) => rows.filter((i) => known[i] === label))
    .filter((members) => members.length > 1);
  const means = new Float32Array(classes.length * k);
  const scatters: Float64Array[] = [];
  for (const [c, members] of classes.entries()) {
    await withScope(x.engine, async (scope) => {
      const part = scope.own(() => gather(x, tensor(x.engine, members)));
      means.set(await meanRow(part), c * k);
      scatters.push(await scatter(part, part));
    });
  }
  const counts = Float32Array.from(classes, (members) => members.length);
  const freedom = counts.reduce((a, b) => a + b, 0) - counts.length;
  const matrices =
    covariance === 'class'
      ? scatters.map((values, c) => values.map((value) => value / (counts[c]! - 1)))
      : [scatters.reduce((a, b) => a.map((value, i) => value + b[i]!)).map((value) => value / freedom)];
  return { counts, means, covariances: Float32Array.from(matrices.flatMap((values) => [...values])) };
}

/** A mixture of one Gaussian per class, weighted by the classes' shares of the samples. */
export class ClassGaussians {
  readonly #k: number;
  /** Of each class the mean μ [k], W [k, k] with (x − μ) W of unit covariance, and the log-density's constant. */
  readonly #classes: readonly {
    readonly mean: Float32Array<ArrayBuffer>;
    readonly whiten: Float32Array<ArrayBuffer>;
    readonly constant: number;
  }[];

  /**
   * @param shrinkage share of the mean variance that is added to each variance, against noise in small ones
   * @throws EliError `ARGUMENT` for a covariance that is not positive definite
   */
  constructor({ counts, means, covariances }: ClassMoments, shrinkage: number) {
    const k = means.length / counts.length;
    const whitenings = Array.from({ length: covariances.length / (k * k) }, (_, i) =>
      whitening(covariances.subarray(i * k * k, (i + 1) * k * k), k, shrinkage),
    );
    const total = counts.reduce((a, b) => a + b, 0);
    this.#k = k;
    this.#classes = Array.from(counts, (count, c) => {
      const { whiten, logVolume } = whitenings[c] ?? whitenings[0]!;
      const constant = Math.log(count / total) - logVolume - (k / 2) * Math.log(2 * Math.PI);
      return { mean: means.slice(c * k, (c + 1) * k), whiten, constant };
    });
  }

  /** log Σ_c π_c N(x; μ_c, Σ_c): x [n, k] → [n]. */
  logDensity(x: Tensor): Tensor {
    const { engine } = x;
    return engine.tidy(() => {
      const columns = this.#classes.map(({ mean, whiten, constant }) =>
        // Temporaries of a class are freed before the next: [n, k] each.
        engine.tidy(() => {
          const centred = sub(x, tensor(engine, mean, [1, this.#k]));
          const white = matmul(centred, tensor(engine, whiten, [this.#k, this.#k]));
          return affine(sum(mul(white, white), 1, true), -0.5, constant);
        }),
      );
      return logSumExp(columns.length === 1 ? columns[0]! : concat(columns, 1), -1);
    });
  }
}

/** W = L⁻ᵀ and ½ log det Σ, for Σ + shrinkage · mean(diag Σ) · I = L Lᵀ. */
function whitening(covariance: Float32Array, k: number, shrinkage: number) {
  const shrunk = Float64Array.from(covariance);
  addRidge(shrunk, k, shrinkage);
  const lower = cholesky(shrunk, k);
  let logVolume = 0;
  for (let i = 0; i < k; i++) logVolume += Math.log(lower[i * k + i]!);
  return { whiten: Float32Array.from(transposed(invertLower(lower, k), k, k)), logVolume };
}
