import { createRequire } from 'node:module';
import type { Gifenc } from 'gifenc';
import { EliError } from '../errors.ts';
import { writeFileAtomic } from '../files/atomic.ts';
import { createView, type PictureSpec, rasterize, viewToSvg } from './picture.ts';
import { COLOR, MODEL_COLORS } from './theme.ts';

/** How alignment moved latents, step by step. */
export interface Movement {
  /** Latents [n, d], row-major, before the first step and after each: steps + 1 arrays. */
  trajectory: readonly Float32Array[];
  n: number;
  d: number;
  /** The previous model's latents of the same images, averaged over them: [d]. */
  target: Float32Array;
}

/** One dimension in one frame; `start` and `target` stay. */
interface Bar {
  dimension: number;
  start: number;
  now: number;
  target: number;
}

/** What the animation draws: the mean latent of each frame, for the dimensions shown. */
export interface Frames {
  frames: Bar[][];
  /** Mean over all d dimensions of |mean latent − target|, a number a frame. */
  distance: number[];
}

/**
 * Averages each step's latents over the n samples and picks the dimensions to show: all of them, or the `most` which
 * moved most between the first and the last step. They are ordered by the target, so that it reads as a curve.
 *
 * @throws EliError SHAPE for an empty trajectory, or arrays that are not [n, d] and [d]
 */
export function toFrames(movement: Movement, most = 32): Frames {
  const { trajectory, n, d, target } = movement;
  if (trajectory.length === 0 || n < 1 || trajectory.some((latents) => latents.length !== n * d)) {
    throw new EliError('SHAPE', `A movement needs one or more steps of latents [${n}, ${d}] each`);
  }
  if (target.length !== d)
    throw new EliError('SHAPE', `Target of ${target.length} values for ${d} dimensions`);

  const means = trajectory.map((latents) => {
    const sum = new Float64Array(d);
    for (let i = 0; i < n; i++) for (let j = 0; j < d; j++) sum[j] += latents[i * d + j];
    return sum.map((value) => value / n);
  });
  const first = means[0];
  const last = means[means.length - 1];
  const shown = Array.from({ length: d }, (_, j) => j)
    .sort((a, b) => Math.abs(last[b] - first[b]) - Math.abs(last[a] - first[a]))
    .slice(0, most)
    .sort((a, b) => target[a] - target[b]);
  return {
    frames: means.map((mean) =>
      shown.map((j) => ({ dimension: j, start: first[j], now: mean[j], target: target[j] })),
    ),
    distance: means.map((mean) => mean.reduce((sum, value, j) => sum + Math.abs(value - target[j]), 0) / d),
  };
}

export interface AnimationOptions {
  title?: string;
  /** What the mean is over, for the subtitle, such as "class 3" or "512 test images". */
  samples?: string;
  /** Dimensions shown at most, 32 unless told. */
  most?: number;
  /** Time a frame is shown, in milliseconds, 120 unless told; the first and last stay for a second and two. */
  delay?: number;
}

/** Writes `<base>.gif`, a frame a step, about 800 × 450 pixels, and its last frame as `<base>.png`. */
export async function saveAnimation(
  base: string,
  movement: Movement,
  options: AnimationOptions = {},
): Promise<{ gif: string; png: string }> {
  const { frames, distance } = toFrames(movement, options.most);
  const steps = frames.length - 1;
  const delay = options.delay ?? 120;
  // Its CommonJS names are found by `require` alone: Node and TypeScript loaders disagree on what `import` gives.
  const gifenc: Gifenc = createRequire(import.meta.url)('gifenc');
  const view = await createView(animationSpec(frames, distance, movement, options));
  const draw = async (step: number): Promise<string> => {
    view
      .data('bars', frames[step])
      .data('here', [{ step, distance: distance[step] }])
      .signal('step', step);
    return viewToSvg(view);
  };
  const files = { gif: `${base}.gif`, png: `${base}.png` };
  try {
    // The last frame, where everything has been drawn in its full strength, gives the colours of all of them.
    const end = await draw(steps);
    const palette = gifenc.quantize((await rasterize(end, { scale: 1 })).rgba, 64);
    const gif = gifenc.GIFEncoder();
    for (let step = 0; step <= steps; step++) {
      const { rgba, width, height } = await rasterize(await draw(step), { scale: 1 });
      gif.writeFrame(gifenc.applyPalette(rgba, palette), width, height, {
        // Given once, the palette is the file's; a frame without one uses it.
        ...(step === 0 ? { palette, repeat: 0 } : {}),
        delay: step === 0 ? 1000 : step === steps ? 2000 : delay,
      });
    }
    gif.finish();
    await writeFileAtomic(files.gif, gif.bytes());
    await writeFileAtomic(files.png, (await rasterize(end)).toPng());
  } finally {
    view.finalize();
  }
  return files;
}

/** The picture of a step, with data sets `bars` and `here` and the signal `step` to move it. */
function animationSpec(
  frames: Bar[][],
  distance: number[],
  { d, n }: Movement,
  options: AnimationOptions,
): PictureSpec {
  const steps = frames.length - 1;
  const shown = frames[0].length;
  const values = frames.flatMap((bars) => bars.flatMap(({ start, now, target }) => [start, now, target]));
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const margin = 0.04 * (high - low || 1);
  const which =
    shown < d ? `the ${shown} of ${d} latent dimensions that move most` : `all ${d} latent dimensions`;
  const names = ['previous model', 'after task 2, unaligned', 'now, while being aligned'];
  const looks = [MODEL_COLORS.previous, '#9A9A9A', MODEL_COLORS.aligned];
  const x = {
    field: 'dimension',
    type: 'ordinal' as const,
    sort: frames[0].map((bar) => bar.dimension),
    scale: { paddingOuter: 0.3 },
    axis: {
      title: 'latent dimension, ordered by the previous model’s value',
      labelAngle: 0,
      labelFontSize: shown > 24 ? 9 : 11,
      ticks: false,
      domain: false,
      labelOverlap: false,
    },
  };
  const y = (field: string) => ({
    field,
    type: 'quantitative' as const,
    scale: { domain: [low - margin, high + margin], nice: false, zero: false },
    axis: { title: 'mean latent value', tickCount: 5 },
  });
  const color = (name: string) => ({
    datum: name,
    type: 'nominal' as const,
    scale: { domain: names, range: looks },
    legend: { title: null, orient: 'top' as const, symbolType: 'square', symbolOpacity: 1, offset: 6 },
  });
  const time = {
    field: 'step',
    type: 'quantitative' as const,
    scale: { domain: [0, Math.max(1, steps)], nice: false },
    axis: {
      title: 'Langevin step',
      grid: false,
      tickCount: 6,
      format: 'd',
      tickMinStep: 1,
      labelFlush: false,
    },
  };
  const away = {
    field: 'distance',
    type: 'quantitative' as const,
    scale: { domain: [0, 1.1 * Math.max(...distance) || 1], nice: false },
    axis: { title: null, tickCount: 3 },
  };

  return {
    params: [{ name: 'step', value: 0 }],
    title: {
      text: {
        expr: `'${options.title ?? 'Alignment moves latents'}: Langevin step ' + step + ' of ${steps}'`,
      },
      subtitle: `mean over ${options.samples ?? `${n} test images`} of ${which}`,
      offset: 8,
    },
    spacing: 8,
    vconcat: [
      {
        width: 690,
        height: 190,
        data: { name: 'bars', values: frames[0] },
        encoding: { x },
        layer: [
          {
            mark: { type: 'rule', strokeWidth: 3, color: '#E9B48F' },
            encoding: { y: y('start'), y2: { field: 'now' } },
          },
          {
            mark: { type: 'circle', size: 40, opacity: 1 },
            encoding: { y: y('start'), color: color(names[1]) },
          },
          {
            mark: { type: 'tick', orient: 'horizontal', thickness: 3, width: 16, opacity: 1 },
            encoding: { y: y('target'), color: color(names[0]) },
          },
          {
            mark: { type: 'circle', size: 70, opacity: 1 },
            encoding: { y: y('now'), color: color(names[2]) },
          },
        ],
      },
      {
        width: 690,
        height: 56,
        title: {
          text: `mean distance to the previous model’s values${shown < d ? `, all ${d} dimensions` : ''}`,
          fontSize: 12,
          fontWeight: 'normal',
          frame: 'group',
          offset: 6,
        },
        layer: [
          {
            data: { values: distance.map((value, step) => ({ step, distance: value })) },
            mark: { type: 'line', color: COLOR.rule, strokeWidth: 1.5 },
            encoding: { x: time, y: away },
          },
          {
            data: { name: 'here', values: [{ step: 0, distance: distance[0] }] },
            mark: { type: 'circle', color: MODEL_COLORS.aligned, size: 60, opacity: 1 },
            encoding: { x: time, y: away },
          },
        ],
      },
    ],
  };
}
