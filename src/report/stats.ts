/** Mean and spread of some runs' figures. */
export interface MeanStd {
  n: number;
  mean: number;
  /** Sample standard deviation (n − 1); 0 for a single value. */
  std: number;
  min: number;
  max: number;
}

/** Mean, sample standard deviation (n − 1), least and greatest of `values`; NaN where there are none. */
export function meanStd(values: ArrayLike<number>): MeanStd {
  const list = Array.from(values);
  const n = list.length;
  const mean = list.reduce((sum, value) => sum + value, 0) / n;
  const squares = list.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    n,
    mean,
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
  const number = (value: number): string => value.toFixed(digits);
  let text = number(stats.mean);
  if (stats.n !== 1) text += ` ± ${number(stats.std)}`;
  if (range && stats.min !== undefined && stats.max !== undefined) {
    text += ` [${number(stats.min)}, ${number(stats.max)}]`;
  }
  return text;
}
