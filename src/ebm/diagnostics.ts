import { EliError } from '../errors.ts';
import { mean } from '../report/stats.ts';
import type { Chains } from './chains.ts';

/** Points of chains off the device: element ((step · chains) + chain) · dims + dim, as `Trajectory.points` is read. */
export interface ChainPoints {
  readonly values: ArrayLike<number>;
  readonly steps: number;
  readonly chains: number;
  readonly dims: number;
}

/** What the draws of one dimension say about its mean. */
export interface Mixing {
  readonly mean: number;
  /** Unbiased variance over all draws. */
  readonly variance: number;
  /** Independent draws whose mean would have the same error; not a number where all draws are equal. */
  readonly effectiveSampleSize: number;
  /** Monte Carlo standard error of the mean: √(variance / effective sample size). */
  readonly standardError: number;
  /** Split-R̂; not a number where all draws are equal. */
  readonly rHat: number;
}

/** What `diagnose` finds out about chains. */
export interface ChainDiagnostics {
  /** Mean share of proposals taken, and the least of a chain; for samplers that accept and reject. */
  readonly acceptance?: { readonly mean: number; readonly least: number };
  /** One a dimension. */
  readonly dims: readonly Mixing[];
  /** Along the kept steps, over the chains: mean energy, and mean and variance of each dimension. */
  readonly along: readonly {
    readonly energy: number;
    readonly mean: number[];
    readonly variance: number[];
  }[];
}

/**
 * Reads chains made with `trajectory: true` and sums them up.
 * @throws EliError `ARGUMENT` without a trajectory, or with fewer than four kept steps.
 */
export async function diagnose(chains: Chains): Promise<ChainDiagnostics> {
  const { trajectory, acceptance } = chains;
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
    const columns = Array.from({ length: dims }, (_, dim) =>
      Float64Array.from({ length: n }, (_, chain) => values[(t * n + chain) * dims + dim]!),
    );
    return {
      energy: mean(energies.subarray(t * n, (t + 1) * n)),
      mean: columns.map(mean),
      variance: columns.map(varianceOf),
    };
  });
  return {
    ...(taken === undefined
      ? {}
      : { acceptance: { mean: mean(taken), least: taken.reduce((a, b) => Math.min(a, b)) } }),
    dims: Array.from({ length: dims }, (_, dim) => mixing(points, dim)),
    along,
  };
}

/**
 * Mean, error of the mean and mixing of one dimension. The chains are cut into halves, so that a drift shows as a
 * difference between chains (Gelman et al., Bayesian Data Analysis, 3rd edition, 2013, sections 11.4 and 11.5, with
 * n times the between-chain variance B/n): R̂ = √(var⁺ / W), var⁺ = W (m−1)/m + B/m for halves of m draws. The effective
 * sample size sums the autocorrelations 1 − (W − mean autocovariance) / var⁺ up to where the sum of a pair of
 * neighbours is no longer positive, pairs made not to grow (Geyer, 1992, section 3.3).
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
  const halves = Array.from({ length: 2 * chains }, (_, i) =>
    Float64Array.from({ length }, (_, t) => values[((starts[i % 2]! + t) * chains + (i >> 1)) * dims + dim]!),
  );
  const all = Float64Array.from({ length: steps * chains }, (_, i) => values[i * dims + dim]!);
  const variance = varianceOf(all);
  const within = mean(halves.map(varianceOf));
  const pooled = (within * (length - 1)) / length + varianceOf(halves.map(mean));
  const size = (2 * chains * length) / correlationTime(halves, within, pooled);
  // Draws that repel one another may count for more than their number, but a finite sample cannot tell how much more.
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
    const covariance = mean(
      centred.map((x) => {
        let sum = 0;
        for (let t = lag; t < length; t++) sum += x[t]! * x[t - lag]!;
        return sum / length;
      }),
    );
    return 1 - (within - covariance) / pooled;
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

/** Unbiased. */
function varianceOf(values: ArrayLike<number>): number {
  const middle = mean(values);
  const squares = Array.from(values, (value) => (value - middle) ** 2);
  return squares.reduce((a, b) => a + b, 0) / (values.length - 1);
}
