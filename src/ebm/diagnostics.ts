import { EliError } from '../errors.ts';
import { mean } from '../report/stats.ts';
import type { Chains } from './chains.ts';

/** Points of chains off the device, as `Trajectory.points` is read. */
export interface ChainPoints {
  /** [steps, chains, dims] row-major. */
  readonly values: ArrayLike<number>;
  readonly steps: number;
  readonly chains: number;
  readonly dims: number;
}

/** Mean of one dimension, and how well the chains know it. */
export interface Mixing {
  readonly mean: number;
  /** Unbiased variance over all draws. */
  readonly variance: number;
  /** Independent draws whose mean would have the same error; NaN where all draws are equal. */
  readonly effectiveSampleSize: number;
  /** Monte Carlo standard error of the mean: √(variance / effective sample size). */
  readonly standardError: number;
  /** Split-R̂; NaN where all draws are equal. */
  readonly rHat: number;
}

/** What `diagnose` finds. */
export interface ChainDiagnostics {
  /** Acceptance rate, its mean over the chains and the lowest; for samplers that accept and reject. */
  readonly acceptance?: { readonly mean: number; readonly least: number };
  /** One for each dimension. */
  readonly dims: readonly Mixing[];
  /** For each kept step, over the chains: mean energy, and mean and variance of each dimension. */
  readonly along: readonly {
    readonly energy: number;
    readonly mean: number[];
    readonly variance: number[];
  }[];
}

/**
 * Moments, mixing and acceptance of chains made with `trajectory: true`, read from the device.
 * @throws EliError `ARGUMENT` without a trajectory, or with fewer than four kept steps.
 */
export async function diagnose({ trajectory, acceptance }: Chains): Promise<ChainDiagnostics> {
  if (trajectory === undefined) {
    throw new EliError('ARGUMENT', 'diagnose: the chains have no trajectory', {
      hint: 'sample with `trajectory: true`',
    });
  }
  const [steps, n, dims] = trajectory.points.shape as [number, number, number];
  const values = await trajectory.points.readFloats();
  const energies = await trajectory.energies.readFloats();
  const taken = await acceptance?.readFloats();
  const points: ChainPoints = { values, steps, chains: n, dims };
  const along = Array.from({ length: steps }, (_, t) => {
    const columns = Array.from({ length: dims }, (_, dim) => strided(values, t * n * dims + dim, dims, n));
    return {
      energy: mean(energies.subarray(t * n, (t + 1) * n)),
      mean: columns.map(mean),
      variance: columns.map(varianceOf),
    };
  });
  return {
    ...(taken && { acceptance: { mean: mean(taken), least: taken.reduce((a, b) => Math.min(a, b)) } }),
    dims: Array.from({ length: dims }, (_, dim) => mixing(points, dim)),
    along,
  };
}

/**
 * Mean, error of the mean and mixing of one dimension. The chains are cut into halves, so that a drift shows as a
 * difference between chains (Gelman et al., Bayesian Data Analysis, 3rd edition, 2013, sections 11.4 and 11.5):
 * R̂ = √(var⁺ / W), var⁺ = W (m−1)/m + B/m for halves of m draws, with the variances W within and B/m between halves. The
 * effective sample size sums the autocorrelations 1 − (W − mean autocovariance) / var⁺ by Geyer's initial monotone
 * sequence (1992, section 3.3): up to where the sum of two neighbours is no longer positive, and never growing.
 * @throws EliError `ARGUMENT` for fewer than four steps, or points that do not fill their shape.
 */
export function mixing(points: ChainPoints, dim = 0): Mixing {
  const { values, steps, chains, dims } = points;
  if (steps < 4 || chains < 1 || dim < 0 || dim >= dims || values.length !== steps * chains * dims) {
    throw new EliError(
      'ARGUMENT',
      `mixing: ${values.length} values for ${steps} steps of ${chains} chains in ${dims} dimensions, dimension ${dim}`,
      { hint: 'four steps are the least; values are [steps, chains, dims] in row-major order' },
    );
  }
  const length = Math.floor(steps / 2);
  // The middle draw of an odd number is left out.
  const starts = [0, steps - length];
  const halves = Array.from({ length: 2 * chains }, (_, i) => {
    const first = (starts[i % 2]! * chains + (i >> 1)) * dims + dim;
    return strided(values, first, chains * dims, length);
  });
  const all = strided(values, dim, dims, steps * chains);
  const variance = varianceOf(all);
  const within = mean(halves.map(varianceOf));
  const pooled = (within * (length - 1)) / length + varianceOf(halves.map(mean));
  const size = (2 * chains * length) / correlationTime(halves, within, pooled);
  // Anticorrelated draws may count for more than their number, but a finite sample cannot tell how much more.
  const effectiveSampleSize = Math.min(size, all.length * Math.log10(all.length));
  return {
    mean: mean(all),
    variance,
    effectiveSampleSize,
    standardError: Math.sqrt(variance / effectiveSampleSize),
    rHat: Math.sqrt(pooled / within),
  };
}

/** 1 + 2 Σ autocorrelations, by Geyer's initial monotone sequence. */
function correlationTime(halves: readonly Float64Array[], within: number, pooled: number): number {
  const length = halves[0]!.length;
  const centred = halves.map((half) => {
    const middle = mean(half);
    return half.map((v) => v - middle);
  });
  const correlation = (lag: number): number => {
    if (lag === 0) return 1;
    const covariances = centred.map(
      (x) => x.subarray(lag).reduce((sum, v, t) => sum + v * x[t]!, 0) / length,
    );
    return 1 - (within - mean(covariances)) / pooled;
  };
  let time = -1;
  let last = Number.POSITIVE_INFINITY;
  for (let lag = 0; lag + 1 < length; lag += 2) {
    const pair = correlation(lag) + correlation(lag + 1);
    if (lag > 0 && !(pair > 0)) break;
    last = Math.min(last, pair);
    time += 2 * last;
  }
  return time;
}

/** Every `stride`-th of the values from `first` on, `length` in all. */
function strided(values: ArrayLike<number>, first: number, stride: number, length: number): Float64Array {
  return Float64Array.from({ length }, (_, i) => values[first + i * stride]!);
}

/** Unbiased. */
function varianceOf(values: ArrayLike<number>): number {
  const middle = mean(values);
  const squares = Array.from(values, (value) => (value - middle) ** 2);
  return squares.reduce((a, b) => a + b, 0) / (values.length - 1);
}
