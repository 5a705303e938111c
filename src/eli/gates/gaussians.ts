import { EliError } from '../../errors.ts';
import type { SafetensorsEntry, SafetensorsInput } from '../../files/safetensors.ts';
import { toFloat32 } from '../../files/safetensors.ts';
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
import { cholesky, invertLower } from '../cholesky.ts';
import { meanRow, scatter } from '../moments.ts';

export type Covariance = 'class' | 'shared';

/** Means and covariances of classes: all that is kept of the data. */
export interface ClassMoments {
  /** Samples of each class, [c]. */
  readonly counts: Float32Array<ArrayBuffer>;
  /** [c, k] */
  readonly means: Float32Array<ArrayBuffer>;
  /** [c, k, k], or [1, k, k] where the classes share one. */
  readonly covariances: Float32Array<ArrayBuffer>;
}

/** k, the size of what the moments are of. */
export function dimensionsOf({ counts, means }: ClassMoments): number {
  return means.length / counts.length;
}

/**
 * Moments of x [n, k] by class; without labels all rows are one class. Classes with fewer than two samples are left out.
 * @throws EliError `SHAPE` when there are not as many labels as rows
 */
export async function classMoments(
  x: Tensor,
  labels: ArrayLike<number> | undefined,
  covariance: Covariance,
): Promise<ClassMoments> {
  const [n, k] = x.shape as [number, number];
  if (labels !== undefined && labels.length !== n) {
    throw new EliError('SHAPE', `${labels.length} labels do not fit the ${n} rows of the data`);
  }
  const rows = new Map<number, number[]>();
  for (let i = 0; i < n; i++) {
    const label = labels?.[i] ?? 0;
    const list = rows.get(label);
    if (list === undefined) rows.set(label, [i]);
    else list.push(i);
  }
  const classes = [...rows].sort(([a], [b]) => a - b).filter(([, list]) => list.length > 1);
  const means = new Float32Array(classes.length * k);
  const scatters: Float64Array[] = [];
  for (const [c, [, list]] of classes.entries()) {
    await withScope(x.engine, async (scope) => {
      const part = scope.own(() => gather(x, tensor(x.engine, Uint32Array.from(list))));
      means.set(await meanRow(part), c * k);
      scatters.push(await scatter(part, part));
    });
  }
  const counts = Float32Array.from(classes, ([, list]) => list.length);
  const total = counts.reduce((a, b) => a + b, 0);
  const covariances =
    covariance === 'class'
      ? scatters.map((s, c) => s.map((value) => value / (counts[c]! - 1)))
      : [
          scatters
            .reduce((a, b) => a.map((value, i) => value + b[i]!))
            .map((v) => v / (total - counts.length)),
        ];
  const flat = new Float32Array(covariances.length * k * k);
  covariances.forEach((values, i) => {
    flat.set(values, i * k * k);
  });
  return { counts, means, covariances: flat };
}

/** A mixture of one Gaussian a class, its weights the shares of the classes. */
export class ClassGaussians {
  readonly #k: number;
  readonly #means: readonly Float32Array<ArrayBuffer>[];
  /** Of each class W [k, k] with (x − μ) W of unit covariance, and the log-density's constant. */
  readonly #whiten: readonly Float32Array<ArrayBuffer>[];
  readonly #constants: readonly number[];

  /** @param shrinkage share of the mean variance that is added to each variance, against noise in small ones. */
  constructor({ counts, means, covariances }: ClassMoments, shrinkage: number) {
    const k = dimensionsOf({ counts, means, covariances });
    const whitened = Array.from({ length: covariances.length / (k * k) }, (_, i) =>
      whiten(covariances.subarray(i * k * k, (i + 1) * k * k), k, shrinkage),
    );
    const total = counts.reduce((a, b) => a + b, 0);
    const of = (c: number): Whitening => whitened[c] ?? whitened[0]!;
    this.#k = k;
    this.#means = Array.from(counts, (_, c) => means.slice(c * k, (c + 1) * k));
    this.#whiten = this.#means.map((_, c) => of(c).matrix);
    this.#constants = Array.from(
      counts,
      (count, c) => Math.log(count / total) - of(c).logVolume - (k / 2) * Math.log(2 * Math.PI),
    );
  }

  /** log Σ_c π_c N(x; μ_c, Σ_c): x [n, k] → [n]. */
  logDensity(x: Tensor): Tensor {
    const { engine } = x;
    return engine.tidy(() => {
      const columns = this.#means.map((mean, c) =>
        // Temporaries of a class are freed before the next: [n, k] each.
        engine.tidy(() => {
          const white = matmul(
            sub(x, tensor(engine, mean, [1, this.#k])),
            tensor(engine, this.#whiten[c]!, [this.#k, this.#k]),
          );
          return affine(sum(mul(white, white), 1, true), -0.5, this.#constants[c]!);
        }),
      );
      return logSumExp(columns.length === 1 ? columns[0]! : concat(columns, 1), -1);
    });
  }
}

interface Whitening {
  readonly matrix: Float32Array<ArrayBuffer>;
  /** ½ log det Σ */
  readonly logVolume: number;
}

/** W = L⁻ᵀ for Σ + shrinkage · mean(diag Σ) · I = L Lᵀ. */
function whiten(covariance: Float32Array, k: number, shrinkage: number): Whitening {
  const shrunk = Float64Array.from(covariance);
  let trace = 0;
  for (let i = 0; i < k; i++) trace += shrunk[i * k + i]!;
  const extra = trace === 0 ? 1 : (shrinkage * trace) / k;
  let logVolume = 0;
  for (let i = 0; i < k; i++) shrunk[i * k + i]! += extra;
  const lower = cholesky(shrunk, k);
  for (let i = 0; i < k; i++) logVolume += Math.log(lower[i * k + i]!);
  const inverse = invertLower(lower, k);
  const matrix = new Float32Array(k * k);
  for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) matrix[j * k + i] = inverse[i * k + j]!;
  return { matrix, logVolume };
}

export function momentsToTensors(moments: ClassMoments, prefix = ''): Record<string, SafetensorsInput> {
  const { counts, means, covariances } = moments;
  const classes = counts.length;
  const k = dimensionsOf(moments);
  return {
    [`${prefix}counts`]: { dtype: 'F32', shape: [classes], data: counts },
    [`${prefix}means`]: { dtype: 'F32', shape: [classes, k], data: means },
    [`${prefix}covariances`]: {
      dtype: 'F32',
      shape: [covariances.length / (k * k), k, k],
      data: covariances,
    },
  };
}

/** @throws EliError `FORMAT` when a tensor is missing or they do not fit one another. */
export function momentsFromTensors(
  tensors: Readonly<Record<string, SafetensorsInput>>,
  prefix = '',
): ClassMoments {
  const part = (name: string): Float32Array<ArrayBuffer> => {
    const entry = tensors[prefix + name];
    if (entry === undefined) throw new EliError('FORMAT', `the gate's tensor ${prefix}${name} is missing`);
    return toFloat32(entry as SafetensorsEntry);
  };
  const moments = { counts: part('counts'), means: part('means'), covariances: part('covariances') };
  const classes = moments.counts.length;
  const k = dimensionsOf(moments);
  if (![classes * k * k, k * k].includes(moments.covariances.length) || !Number.isInteger(k) || k < 1) {
    throw new EliError(
      'FORMAT',
      `the gate's moments do not fit: ${classes} classes, ${moments.means.length} values of means, ${moments.covariances.length} of covariances`,
    );
  }
  return moments;
}
