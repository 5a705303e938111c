import { setImmediate } from 'node:timers/promises';
import { EliError } from '../errors.ts';
import { notInstalled } from '../optional.ts';

/** How t-SNE runs. */
export interface TsneOptions {
  /** The same seed gives the same picture on the same Node version. Default 1. */
  seed?: number;
  /** Gradient steps, default 500. */
  iterations?: number;
}

/**
 * Places `points` [n, d] in the plane by exact t-SNE and returns the places [n, 2], row-major. Time and memory grow
 * with n². Yields to the event loop every few steps.
 *
 * @throws EliError SHAPE when `points` does not have n × d values or n < 4, NON_FINITE for a value that is not finite, NOT_INSTALLED
 */
export async function tsne(
  points: Float32Array,
  n: number,
  d: number,
  options: TsneOptions = {},
): Promise<Float32Array> {
  if (points.length !== n * d || n < 4) {
    throw new EliError(
      'SHAPE',
      `t-SNE got ${points.length} values for [${n}, ${d}]: need n × d of them and n ≥ 4`,
    );
  }
  if (!points.every(Number.isFinite)) {
    throw new EliError('NON_FINITE', 'A point for t-SNE has a value that is not a finite number');
  }
  const { TSNE } = await import('@saehrimnir/druidjs').catch(notInstalled('t-SNE'));
  const rows = Array.from({ length: n }, (_, i) => Float64Array.from(points.subarray(i * d, (i + 1) * d)));
  const model = new TSNE(rows, {
    seed: options.seed ?? 1,
    perplexity: Math.min(30, (n - 1) / 3),
    epsilon: 50,
    d: 2,
  });
  let places = rows;
  let done = 0;
  for (places of model.generator(options.iterations ?? 500)) if (++done % 10 === 0) await setImmediate();
  return Float32Array.from(places.flatMap((place) => [...place]));
}
