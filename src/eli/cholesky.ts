import { EliError } from '../errors.ts';

/**
 * The lower triangle L of a symmetric positive definite matrix A [n, n] (row-major), A = L Lᵀ, above it zeros. In
 * float64: matrices here have conditions up to 1e6, which float32 does not carry.
 * @throws EliError `ARGUMENT` when A is not positive definite, naming the pivot.
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

/** X of L Lᵀ X = B, for L [n, n] of `cholesky` and B [n, m], both row-major; X is new. */
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

/** The inverse of a lower triangle L [n, n] of `cholesky`, itself a lower triangle. */
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
