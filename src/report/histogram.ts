import { EliError } from '../errors.ts';
import { axisOver, type PictureSpec, type Titles } from './picture.ts';
import { mean } from './stats.ts';
import { MODEL_COLORS } from './theme.ts';

/** Energies of the same task-1 test images, one number an image; low means like the previous model. */
export interface EnergySets {
  previous: Float32Array;
  current: Float32Array;
  aligned: Float32Array;
}

/** Shared bins: `edges` has one element more than each row of `counts`. */
export interface Bins {
  edges: number[];
  counts: number[][];
}

/** Share of the pooled values beyond each end of the axis, which the outermost bins take in. */
const TAIL = 0.0005;
const BINS = 60;

/**
 * Counts each of `sets` in `bins` equal bins shared by all. The bins span the pooled values but for the outermost
 * 0.05 % on either side: those are counted in the end bins, so that one far value does not flatten the picture and
 * each row of counts still sums to the size of its set.
 *
 * @throws EliError ARGUMENT for an empty set or no bins, NON_FINITE for a value that is not a number
 */
export function sharedBins(sets: readonly Float32Array[], bins: number): Bins {
  if (!(Number.isInteger(bins) && bins > 0))
    throw new EliError('ARGUMENT', `${bins} bins: need a whole number > 0`);
  if (sets.length === 0 || sets.some((set) => set.length === 0)) {
    throw new EliError('ARGUMENT', 'A histogram needs at least one value in every set');
  }
  const pooled = Float32Array.from(sets.flatMap((set) => [...set]));
  if (!pooled.every(Number.isFinite)) {
    throw new EliError('NON_FINITE', 'A histogram got a value that is not a finite number');
  }
  pooled.sort();
  const cut = Math.floor(TAIL * pooled.length);
  let low = pooled[cut];
  let high = pooled[pooled.length - 1 - cut];
  if (low === high) {
    low -= 0.5;
    high += 0.5;
  }
  const width = (high - low) / bins;
  const counts = sets.map((set) => {
    const row = new Array<number>(bins).fill(0);
    for (const value of set) row[Math.min(bins - 1, Math.max(0, Math.floor((value - low) / width)))]++;
    return row;
  });
  return { edges: Array.from({ length: bins + 1 }, (_, i) => low + i * width), counts };
}

export interface HistogramOptions extends Titles {
  /** What has an energy; default `images`. */
  samples?: string;
}

/** Three translucent histograms over shared bins, with the mean of each set marked and written into its label. */
export function histogramSpec(sets: EnergySets, options: HistogramOptions = {}): PictureSpec {
  const groups = [
    { name: 'previous model', values: sets.previous, color: MODEL_COLORS.previous },
    { name: 'unaligned', values: sets.current, color: MODEL_COLORS.current },
    { name: 'aligned', values: sets.aligned, color: MODEL_COLORS.aligned },
  ].map((group) => ({ ...group, mean: mean(group.values) }));
  const { edges, counts } = sharedBins(
    groups.map((group) => group.values),
    BINS,
  );
  // A step line holds each value up to the next row: the last edge repeats the last bin to close it.
  const rows = groups.flatMap((group, g) =>
    edges.map((edge, b) => ({
      name: group.name,
      edge,
      share: (100 * counts[g][Math.min(b, counts[g].length - 1)]) / group.values.length,
    })),
  );
  const means = groups.map(({ name, mean }) => ({ name, mean, label: `${name}: mean ${format(mean)}` }));
  const names = groups.map((group) => group.name);
  const color = {
    field: 'name',
    type: 'nominal' as const,
    scale: { domain: names, range: groups.map((group) => group.color) },
    legend: {
      title: null,
      orient: 'top' as const,
      symbolType: 'square',
      symbolOpacity: 1,
      labelExpr: `{${means.map((g) => `'${g.name}': '${g.label}'`).join(', ')}}[datum.label]`,
    },
  };
  const x = axisOver('edge', [edges[0]!, edges[edges.length - 1]!], {
    title: 'energy (low = like the previous model)',
    grid: false,
    tickCount: 10,
  });
  return {
    title: {
      text: options.title ?? 'Energies of task-1 images before and after alignment',
      subtitle:
        options.subtitle ?? `${sets.previous.length.toLocaleString('en')} test images; dashes mark the means`,
    },
    width: 620,
    height: 300,
    layer: [
      {
        data: { values: rows },
        mark: { type: 'area', interpolate: 'step-after', fillOpacity: 0.35, line: { strokeWidth: 1.5 } },
        encoding: {
          x,
          y: {
            field: 'share',
            type: 'quantitative',
            stack: null,
            axis: { title: `share of ${options.samples ?? 'images'} per bin (%)`, tickCount: 5 },
          },
          color,
        },
      },
      {
        data: { values: means },
        mark: { type: 'rule', strokeDash: [5, 3], strokeWidth: 2, clip: true },
        encoding: { x: { ...x, field: 'mean' }, color: { field: 'name', type: 'nominal' } },
      },
    ],
  };
}

function format(value: number): string {
  return value.toFixed(Math.abs(value) < 10 ? 2 : 1).replace('-', '−');
}
