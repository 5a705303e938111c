import { EliError } from '../errors.ts';
import type { PictureSpec } from './picture.ts';
import { COLOR } from './theme.ts';

/** A workload and its rates in 10⁹ operations and bytes per second. */
export interface RooflinePoint {
  name: string;
  gflops: number;
  gbs: number;
}

/**
 * Operations per second against operations per byte, both logarithmic, under the adapter's two roofs (Williams et al.,
 * CACM 2009). @throws EliError ARGUMENT without a point
 */
export function rooflineSpec(
  points: readonly RooflinePoint[],
  roof: { gflops: number; gbs: number },
  subtitle: string,
): PictureSpec {
  if (points.length === 0) throw new EliError('ARGUMENT', 'A roofline needs at least one workload');
  const values = points.map((p) => ({ ...p, intensity: p.gflops / p.gbs, group: p.name.split(' ')[0] }));
  const intensities = values.map((p) => p.intensity);
  const ridge = roof.gflops / roof.gbs;
  const low = Math.min(...intensities, ridge) / 2;
  const high = Math.max(...intensities, ridge) * 2;
  const line = [low, ridge, high].map((intensity) => ({
    intensity,
    gflops: Math.min(roof.gflops, intensity * roof.gbs),
  }));
  const x = {
    field: 'intensity',
    type: 'quantitative' as const,
    scale: { type: 'log' as const, domain: [low, high], nice: false },
    axis: { title: 'floating-point operations a byte', tickCount: 6 },
  };
  const y = {
    field: 'gflops',
    type: 'quantitative' as const,
    scale: { type: 'log' as const },
    axis: { title: 'GFLOP/s', tickCount: 6 },
  };
  return {
    title: { text: 'Roofline', subtitle },
    width: 560,
    height: 360,
    layer: [
      {
        data: { values: line },
        mark: { type: 'line', color: COLOR.rule, strokeWidth: 2 },
        encoding: { x, y },
      },
      {
        data: { values },
        mark: { type: 'point', filled: true, size: 60, opacity: 0.85 },
        encoding: {
          x,
          y,
          color: { field: 'group', type: 'nominal', legend: { title: null, columns: 1, symbolLimit: 40 } },
        },
      },
    ],
  };
}
