import * as assert from 'uvu/assert';
import { type ChainPoints, mixing } from '../../src/ebm/diagnostics.ts';

export interface Moments {
  readonly mean: readonly number[];
  readonly covariance: readonly (readonly number[])[];
}

/**
 * Largest |z| that passes. A normal z is beyond 4.5 once in 150,000 times; with the 60 or so numbers that a test file
 * checks, one seed in 2,000 would fail by chance. Seeds are fixed: only another adapter's rounding draws anew.
 */
export const LIMIT = 4.5;

/** |z| of every mean, variance and covariance of the draws, with the error that their effective sample size gives. */
export function checkMoments(what: string, points: ChainPoints, { mean, covariance }: Moments): void {
  const { values, dims } = points;
  const one = (f: (first: number) => number): ChainPoints => ({
    ...points,
    dims: 1,
    values: Float64Array.from({ length: values.length / dims }, (_, i) => f(i * dims)),
  });
  const check = (name: string, draws: ChainPoints, want: number): void => {
    const found = mixing(draws);
    const z = (found.mean - want) / found.standardError;
    const text = `${what}: ${name} is ${found.mean} ± ${found.standardError}, should be ${want} (z = ${z.toFixed(2)})`;
    assert.ok(Math.abs(z) < LIMIT, text);
    // A test that could not tell 10 % of a standard deviation has no power.
    assert.ok(found.effectiveSampleSize > 900, `${text}; only ${found.effectiveSampleSize} effective draws`);
  };
  for (let i = 0; i < dims; i++) {
    check(
      `mean ${i}`,
      one((at) => values[at + i]!),
      mean[i]!,
    );
    for (let j = i; j < dims; j++) {
      check(
        `covariance ${i}, ${j}`,
        one((at) => (values[at + i]! - mean[i]!) * (values[at + j]! - mean[j]!)),
        covariance[i]![j]!,
      );
    }
  }
}
