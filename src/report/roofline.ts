import { EliError } from '../errors.ts';
import type { PictureSpec } from './picture.ts';
import { CLASS_COLORS, COLOR } from './theme.ts';

/** A workload and its rates in 10⁹ operations and bytes per second. */
export interface RooflinePoint {
  name: string;
  gflops: number;
  gbs: number;
}

/** As many names as are about as high as the chart. */
const LEGEND_ROWS = 28;

/** Points of one op have one colour. */
const groupOf = ({ name }: RooflinePoint): string => name.split(' ')[0]!;

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
  const groups = [...new Set(points.map(groupOf))];
  const values = points.map((p, i) => ({
    ...p,
    intensity: p.gflops / p.gbs,
    number: String(i + 1),
    label: `${i + 1}  ${p.name}`,
  }));
  const colors = points.map((p) => CLASS_COLORS[groups.indexOf(groupOf(p)) % CLASS_COLORS.length]!);
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
          // The legend names each point by its number, since names beside the points would overlap.
          color: {
            field: 'label',
            type: 'nominal',
            scale: { domain: values.map(({ label }) => label), range: colors },
            legend: {
              title: null,
              columns: Math.ceil(points.length / LEGEND_ROWS),
              symbolLimit: 0,
              labelLimit: 0,
            },
          },
        },
      },
      {
        data: { values },
        mark: { type: 'text', align: 'left', dx: 6, dy: -5, fontSize: 9 },
        encoding: { x, y, text: { field: 'number', type: 'nominal' } },
      },
    ],
  };
}
