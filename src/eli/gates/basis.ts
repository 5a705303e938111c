import { sub } from '../../ops/binary.ts';
import { gather } from '../../ops/gather.ts';
import { matmul } from '../../ops/matmul.ts';
import { tensor } from '../../tensor/create.ts';
import { bitsAt } from '../../tensor/random.ts';
import { withScope } from '../../tensor/scope.ts';
import { STREAM } from '../../tensor/streams.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { addRidge, cholesky, invertLower, transposed } from '../cholesky.ts';
import { meanRow, scatter } from '../moments.ts';

/** Most rows that a covariance is taken from, evenly spread: more would hardly change the leading subspace. */
const ROWS = 2048;
/** Extra columns and power iterations, as usual in randomised PCA (Halko et al., 2011). */
const OVERSAMPLE = 10;
const ITERATIONS = 4;

/** An affine map to fewer dimensions: x ↦ (x − mean) B, where B [p, k] has orthonormal columns. */
export interface Basis {
  /** [p] */
  readonly mean: Float32Array<ArrayBuffer>;
  /** [p, k] row-major */
  readonly columns: Float32Array<ArrayBuffer>;
}

/** x [n, p] → [n, k]; x itself without a basis. */
export function project(x: Tensor, basis: Basis | undefined): Tensor {
  if (basis === undefined) return x;
  const { engine } = x;
  const p = basis.mean.length;
  return engine.tidy(() =>
    matmul(
      sub(x, tensor(engine, basis.mean, [1, p])),
      tensor(engine, basis.columns, [p, basis.columns.length / p]),
    ),
  );
}

/**
 * A basis of the subspace of the k leading principal components of x [n, p], by power iteration from a random start. The
 * columns span that subspace but are not the components themselves, which makes no difference to Gaussians. `undefined`
 * when k ≥ p, where nothing is left out.
 */
export async function pcaBasis(x: Tensor, k: number): Promise<Basis | undefined> {
  const [n, p] = x.shape as [number, number];
  if (k >= p) return undefined;
  const stride = Math.ceil(n / ROWS);
  const rows = Uint32Array.from({ length: Math.ceil(n / stride) }, (_, i) => i * stride);
  return withScope(x.engine, async (scope) => {
    const some = scope.own(() => gather(x, tensor(x.engine, rows)));
    const columns = leadingSubspace(await scatter(some, some), p, k);
    return { mean: await meanRow(some), columns };
  });
}

/** Orthonormal columns [p, k] that span the leading eigenvectors of a symmetric matrix [p, p]. */
function leadingSubspace(matrix: Float64Array, p: number, k: number): Float32Array<ArrayBuffer> {
  const wide = Math.min(p, k + OVERSAMPLE);
  let q = Float64Array.from(
    { length: p * wide },
    (_, i) => bitsAt({ seed: 1, stream: STREAM.basis }, i) / 2 ** 32 - 0.5,
  );
  for (let i = 0; i < ITERATIONS; i++) q = orthonormal(multiply(matrix, q, p, p, wide), p, wide);
  // The k leading directions of the wider subspace: by power iteration again, now in `wide` dimensions.
  const inside = multiply(transposed(q, p, wide), multiply(matrix, q, p, p, wide), wide, p, wide);
  let r = Float64Array.from({ length: wide * k }, (_, i) => (i % k === Math.floor(i / k) ? 1 : 0));
  for (let i = 0; i < 50; i++) r = orthonormal(multiply(inside, r, wide, wide, k), wide, k);
  return Float32Array.from(multiply(q, r, p, wide, k));
}

/** A [m, k] times B [k, n]. */
function multiply(
  a: Float64Array,
  b: Float64Array,
  m: number,
  k: number,
  n: number,
): Float64Array<ArrayBuffer> {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let l = 0; l < k; l++) {
      const factor = a[i * k + l]!;
      for (let j = 0; j < n; j++) c[i * n + j]! += factor * b[l * n + j]!;
    }
  }
  return c;
}

/** Orthonormal columns with the span of A's, by Cholesky: Q = A L⁻ᵀ for AᵀA = L Lᵀ; twice, for accuracy. */
function orthonormal(a: Float64Array<ArrayBuffer>, m: number, n: number): Float64Array<ArrayBuffer> {
  let q = a;
  for (let pass = 0; pass < 2; pass++) {
    const gram = multiply(transposed(q, m, n), q, n, m, n);
    addRidge(gram, n, 1e-14, 0);
    q = multiply(q, transposed(invertLower(cholesky(gram, n), n), n, n), m, n, n);
  }
  return q;
}
