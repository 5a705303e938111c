import { EliError } from '../errors.ts';

/**
 * Adds `share` of the mean of A's diagonal to each of its elements, in place; `otherwise` where the diagonal is zero.
 * A [n, n] is row-major.
 */
export function addRidge(a: Float64Array, n: number, share: number, otherwise = 1): void {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a[i * n + i]!;
  const ridge = trace === 0 ? otherwise : (share * trace) / n;
  for (let i = 0; i < n; i++) a[i * n + i]! += ridge;
}

/**
 * The lower triangular L of a symmetric positive definite matrix A = L Lᵀ, both [n, n], row-major. In float64: matrices
 * here have condition numbers up to 1e6, too many for float32.
 * @throws EliError `ARGUMENT` naming the pivot when A is not positive definite
 */
export function cholesky(a: ArrayLike<number>, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      if (i !== j) l[i * n + j] = sum / l[j * n + j]!;
      else if (sum > 0) l[i * n + i] = Math.sqrt(sum);
      else {
        throw new EliError(
          'ARGUMENT',
          `the matrix [${n}, ${n}] is not positive definite: pivot ${i} is ${sum}`,
          { hint: 'give more samples or a larger ridge or shrinkage, and check the data for NaN' },
        );
      }
    }
  }
  return l;
}

/** Solves L Lᵀ X = B for a new X [n, m], given L [n, n] from `cholesky` and B [n, m], all row-major. */
export function choleskySolve(l: Float64Array, b: ArrayLike<number>, n: number, m: number): Float64Array {
  const x = Float64Array.from(b);
  const eliminate = (i: number, k: number, factor: number): void => {
    for (let j = 0; j < m; j++) x[i * m + j]! -= factor * x[k * m + j]!;
  };
  const scale = (i: number): void => {
    for (let j = 0; j < m; j++) x[i * m + j]! /= l[i * n + i]!;
  };
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) eliminate(i, k, l[i * n + k]!);
    scale(i);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) eliminate(i, k, l[k * n + i]!);
    scale(i);
  }
  return x;
}

/** The inverse of L [n, n] from `cholesky`, also lower triangular. */
export function invertLower(l: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let k = 0; k < i; k++) {
      const factor = l[row + k]!;
      for (let j = 0; j <= k; j++) inverse[row + j]! -= factor * inverse[k * n + j]!;
    }
    inverse[row + i] = 1;
    for (let j = 0; j <= i; j++) inverse[row + j]! /= l[row + i]!;
  }
  return inverse;
}

/** The transpose [n, m] of a matrix [m, n], both row-major. */
export function transposed(a: Float64Array, m: number, n: number): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: m * n }, (_, i) => a[(i % m) * n + Math.floor(i / m)]!);
}
