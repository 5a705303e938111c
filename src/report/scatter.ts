import { EliError } from '../errors.ts';
import { axisOver, colorBy, type PictureSpec } from './picture.ts';
import { CLASS_COLORS, COLOR } from './theme.ts';
import { type TsneOptions, tsne } from './tsne.ts';

/** Latents of the same task-1 images, each [n, d] row-major, and the images' labels [n]. */
export interface LatentSets {
  n: number;
  d: number;
  labels: ArrayLike<number>;
  afterTask1: Float32Array;
  unaligned: Float32Array;
  aligned: Float32Array;
}

/** One panel of the scatter: places [n, 2] in the plane, row-major. */
export interface ScatterPanel {
  title: string;
  places: Float32Array;
}

/** How latents are placed in the plane. */
export interface EmbedOptions extends TsneOptions {
  /** Images drawn, default 300. t-SNE places three points per image, and its time grows with their square. */
  images?: number;
}

/**
 * Embeds the three sets of latents jointly, so that a place means the same in every panel. Takes `images` of the n
 * images, evenly spaced and the same in each set.
 *
 * @throws EliError SHAPE when a set does not have n × d values or `labels` n; what `tsne` throws
 */
export async function embedLatents(
  sets: LatentSets,
  options: EmbedOptions = {},
): Promise<{ labels: number[]; panels: ScatterPanel[] }> {
  const { n, d } = sets;
  const panels = [
    { title: 'after task 1', latents: sets.afterTask1 },
    { title: 'after task 2, unaligned', latents: sets.unaligned },
    { title: 'after task 2, aligned', latents: sets.aligned },
  ];
  for (const { title, latents } of panels) {
    if (latents.length !== n * d) {
      throw new EliError('SHAPE', `Latents ${title}: ${latents.length} values, need [${n}, ${d}]`);
    }
  }
  if (sets.labels.length !== n) throw new EliError('SHAPE', `${sets.labels.length} labels for ${n} latents`);

  const m = Math.min(n, options.images ?? 300);
  const picked = Array.from({ length: m }, (_, i) => Math.floor((i * n) / m));
  const points = panels.flatMap(({ latents }) =>
    picked.flatMap((row) => [...latents.subarray(row * d, (row + 1) * d)]),
  );
  const places = await tsne(Float32Array.from(points), panels.length * m, d, options);
  return {
    labels: picked.map((row) => sets.labels[row]),
    panels: panels.map(({ title }, p) => ({ title, places: places.subarray(p * m * 2, (p + 1) * m * 2) })),
  };
}

/**
 * The panels side by side on one scale, coloured by label; the label of a class is drawn at the median of its points.
 * From the second panel on, the places of the first are drawn in grey below to show where the points came from.
 *
 * @throws EliError SHAPE when a panel does not have one place per label
 */
export function scatterSpec(
  labels: readonly number[],
  panels: readonly ScatterPanel[],
  subtitle = `joint t-SNE of ${labels.length} test images; grey: where the same images were after task 1`,
): PictureSpec {
  for (const { title, places } of panels) {
    if (places.length !== 2 * labels.length) {
      throw new EliError(
        'SHAPE',
        `Panel '${title}': ${places.length} values for ${labels.length} places in the plane`,
      );
    }
  }
  const classes = [...new Set(labels)].sort((a, b) => a - b);
  const rows = panels.flatMap(({ title, places }, p) => {
    const point = toRows(places, labels);
    const ghost = p === 0 ? [] : toRows(panels[0].places, labels);
    const kinds = Object.entries({ ghost, point, label: medians(point, classes) });
    return kinds.flatMap(([kind, of]) => of.map((row) => ({ ...row, kind, panel: title })));
  });
  const reach =
    1.06 * panels.reduce((most, { places }) => places.reduce((m, v) => Math.max(m, Math.abs(v)), most), 0);
  return {
    title: { text: 'Latents of the first task: learnt, shifted, aligned', subtitle },
    data: { values: rows },
    facet: { field: 'panel', type: 'nominal', sort: panels.map(({ title }) => title), title: null },
    columns: panels.length,
    spacing: 14,
    spec: {
      width: 290,
      height: 290,
      view: { stroke: '#DDDDDD' },
      encoding: { x: axisOver('x', [-reach, reach], null), y: axisOver('y', [-reach, reach], null) },
      layer: scatterLayers(classes),
    },
  };
}

/** Grey places below, coloured ones above them, and the labels on top. */
function scatterLayers(classes: number[]) {
  const colors = classes.map((_, i) => CLASS_COLORS[i % CLASS_COLORS.length]!);
  const only = (kind: string) => [{ filter: { field: 'kind', equal: kind } }];
  return [
    {
      transform: only('ghost'),
      mark: { type: 'circle' as const, size: 16, color: '#D9D9D9', opacity: 0.7 },
    },
    {
      transform: only('point'),
      mark: { type: 'circle' as const, size: 24, opacity: 0.75 },
      encoding: {
        color: colorBy('label', classes, colors, {
          title: 'digit',
          titleOrient: 'left',
          orient: 'bottom',
          direction: 'horizontal',
          symbolOpacity: 1,
          symbolSize: 70,
        }),
      },
    },
    // The same text twice: a white outline below keeps the dark text readable over points.
    ...[{ stroke: '#FFFFFF', strokeWidth: 4, strokeJoin: 'round' as const }, { color: COLOR.ink }].map(
      (look) => ({
        transform: only('label'),
        mark: { type: 'text' as const, fontSize: 15, fontWeight: 'bold' as const, ...look },
        encoding: { text: { field: 'label' } },
      }),
    ),
  ];
}

function toRows(places: Float32Array, labels: readonly number[]) {
  return labels.map((label, i) => ({ x: places[2 * i], y: places[2 * i + 1], label }));
}

function medians(rows: ReturnType<typeof toRows>, classes: readonly number[]) {
  return classes.map((label) => {
    const members = rows.filter((row) => row.label === label);
    return { label, x: median(members.map((row) => row.x)), y: median(members.map((row) => row.y)) };
  });
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}
