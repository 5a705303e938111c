/** Mean and spread of some runs' figures. */
export interface MeanStd {
  n: number;
  mean: number;
  /** Sample standard deviation (n − 1); 0 for a single value. */
  std: number;
  min: number;
  max: number;
}

/** Their mean, NaN where there are none. */
export function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, value) => sum + value, 0) / values.length;
}

/** Mean, sample standard deviation (n − 1), least and greatest of `values`; NaN where there are none. */
export function meanStd(values: ArrayLike<number>): MeanStd {
  const list = Array.from(values);
  const n = list.length;
  const middle = mean(list);
  const squares = list.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  return {
    n,
    mean: middle,
    std: n > 1 ? Math.sqrt(squares / (n - 1)) : squares,
    min: n > 0 ? Math.min(...list) : Number.NaN,
    max: n > 0 ? Math.max(...list) : Number.NaN,
  };
}

/** `80.4` for one value, `80.4 ± 7.7` for several; with `range`, `[68.5, 91.7]` behind. */
export function formatMeanStd(
  stats: Pick<MeanStd, 'mean' | 'std'> & Partial<MeanStd>,
  digits: number,
  range = false,
): string {
  const { n, mean, std, min, max } = stats;
  const spread = n === 1 ? '' : ` ± ${std.toFixed(digits)}`;
  const ends = range && min !== undefined && max !== undefined;
  return `${mean.toFixed(digits)}${spread}${ends ? ` [${min.toFixed(digits)}, ${max.toFixed(digits)}]` : ''}`;
}
