import { sub } from '../../ops/binary.ts';
import { gather } from '../../ops/gather.ts';
import { matmul } from '../../ops/matmul.ts';
import { tensor } from '../../tensor/create.ts';
import { bitsAt } from '../../tensor/random.ts';
import { withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { cholesky, invertLower } from '../cholesky.ts';
import { meanRow, scatter } from '../moments.ts';

/** Rows a covariance is taken from at most, evenly spread: more change the leading subspace little. */
const ROWS = 2048;
/** Columns beyond those wanted, and power iterations: what randomised PCA takes (Halko et al., 2011). */
const OVERSAMPLE = 10;
const ITERATIONS = 4;

/** An affine map to fewer dimensions: x ↦ (x − mean) B with B [p, k] of orthonormal columns. */
export interface Basis {
  /** [p] */
  readonly mean: Float32Array<ArrayBuffer>;
  /** [p, k] row-major */
  readonly columns: Float32Array<ArrayBuffer>;
}

/** x [n, p] → [n, k]. Without a basis x itself. */
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
 * A basis of the subspace of the k leading principal components of x [n, p], by power iterations of a random start.
 * The columns span that subspace, they are not the components: Gaussians do not see the difference. `undefined` when
 * k ≥ p, where nothing is to be left out.
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
    (_, i) => bitsAt({ seed: 1, stream: 0 }, i) / 2 ** 32 - 0.5,
  );
  for (let i = 0; i < ITERATIONS; i++) q = orthonormal(multiply(matrix, q, p, p, wide), p, wide);
  // Of the wider subspace the k directions that matter: again by power iterations, now in `wide` dimensions.
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

function transposed(a: Float64Array, m: number, n: number): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: m * n }, (_, i) => a[(i % m) * n + Math.floor(i / m)]!);
}

/** A with orthonormal columns of the same span, by Cholesky: Q = A L⁻ᵀ for AᵀA = L Lᵀ; twice, for accuracy. */
function orthonormal(a: Float64Array<ArrayBuffer>, m: number, n: number): Float64Array<ArrayBuffer> {
  let q = a;
  for (let pass = 0; pass < 2; pass++) {
    const gram = multiply(transposed(q, m, n), q, n, m, n);
    let trace = 0;
    for (let i = 0; i < n; i++) trace += gram[i * n + i]!;
    for (let i = 0; i < n; i++) gram[i * n + i]! += (trace * 1e-14) / n;
    const inverse = invertLower(cholesky(gram, n), n);
    q = multiply(q, transposed(inverse, n, n), m, n, n);
  }
  return q;
}
