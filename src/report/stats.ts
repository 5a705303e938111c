import { EliError } from '../errors.ts';

/** Mean and spread of a figure over several runs. */
export interface MeanStd {
  n: number;
  mean: number;
  /** Sample standard deviation (n − 1); 0 for a single value. */
  std: number;
  min: number;
  max: number;
}

/** The mean of `values`, NaN for none. */
export function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
}

/** Mean, sample standard deviation (n − 1), minimum and maximum of `values`; NaN for none. */
export function meanStd(values: ArrayLike<number>): MeanStd {
  const list = Array.from(values);
  const n = list.length;
  const middle = mean(list);
  const squares = list.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return {
    n,
    mean: middle,
    std: Math.sqrt(squares / Math.max(1, n - 1)),
    min: n > 0 ? Math.min(...list) : Number.NaN,
    max: n > 0 ? Math.max(...list) : Number.NaN,
  };
}

/**
 * The value below which a share q of `values` lies, interpolated linearly between neighbours.
 * @throws EliError `ARGUMENT` for no values, or q outside 0 … 1
 */
export function quantileOf(values: ArrayLike<number>, q: number): number {
  if (!(q >= 0 && q <= 1) || values.length === 0) {
    throw new EliError('ARGUMENT', `quantile ${q} of ${values.length} values: it must be from 0 to 1`);
  }
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - low);
}

/** `80.4` for one value, `80.4 ± 7.7` for several; with `range`, followed by `[68.5, 91.7]`. */
export function formatMeanStd(
  { n, mean, std, min, max }: Omit<MeanStd, 'n'> & { n?: number },
  digits: number,
  range = false,
): string {
  const spread = n === 1 ? '' : ` ± ${std.toFixed(digits)}`;
  return `${mean.toFixed(digits)}${spread}${range ? ` [${min.toFixed(digits)}, ${max.toFixed(digits)}]` : ''}`;
}
