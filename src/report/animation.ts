import { createRequire } from 'node:module';
import type { Gifenc } from 'gifenc';
import { EliError } from '../errors.ts';
import { writeFileAtomic } from '../files/atomic.ts';
import { axisOver, createView, type PictureSpec, rasterize, viewToSvg } from './picture.ts';
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
 * Averages each step's latents over the n samples and picks the dimensions to show: all of them, or the `most` that
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

/** Time that a frame is shown, in milliseconds: the first, the last, those between. */
const DELAY = { first: 1000, last: 2000, between: 120 };

/**
 * Writes `<base>.gif`, a frame a step, about 800 × 450 pixels, and its last frame as `<base>.png`.
 * @param samples what the means are over, for the subtitle, such as "class 3"
 */
export async function saveAnimation(
  base: string,
  movement: Movement,
  samples = `${movement.n} test images`,
): Promise<{ gif: string; png: string }> {
  const { frames, distance } = toFrames(movement);
  const steps = frames.length - 1;
  // Its CommonJS names are found by `require` alone: Node and TypeScript loaders disagree on what `import` gives.
  const gifenc: Gifenc = createRequire(import.meta.url)('gifenc');
  const view = await createView(animationSpec({ frames, distance }, movement.d, samples));
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
        delay: step === 0 ? DELAY.first : step === steps ? DELAY.last : DELAY.between,
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
function animationSpec({ frames, distance }: Frames, d: number, samples: string): PictureSpec {
  const shown = frames[0].length;
  const which =
    shown < d ? `the ${shown} of ${d} latent dimensions that move most` : `all ${d} latent dimensions`;
  return {
    params: [{ name: 'step', value: 0 }],
    title: {
      text: { expr: `'Alignment moves latents: Langevin step ' + step + ' of ${frames.length - 1}'` },
      subtitle: `mean over ${samples} of ${which}`,
      offset: 8,
    },
    spacing: 8,
    vconcat: [barsPanel(frames), distancePanel(distance, shown < d ? `, all ${d} dimensions` : '')],
  };
}

/** Each dimension's mean at a step: a line from its start, and the previous model's mean as a dash. */
function barsPanel(frames: Bar[][]) {
  const values = frames.flatMap((bars) => bars.flatMap(({ start, now, target }) => [start, now, target]));
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values);
  const margin = 0.04 * (high - low || 1);
  const x = {
    field: 'dimension',
    type: 'ordinal' as const,
    sort: frames[0].map((bar) => bar.dimension),
    scale: { paddingOuter: 0.3 },
    axis: {
      title: 'latent dimension, ordered by the previous model’s value',
      labelAngle: 0,
      labelFontSize: frames[0].length > 24 ? 9 : 11,
      ticks: false,
      domain: false,
      labelOverlap: false,
    },
  };
  const at = (field: keyof Bar) => {
    const axis = axisOver(field, [low - margin, high + margin], { title: 'mean latent value', tickCount: 5 });
    return { ...axis, scale: { ...axis.scale, zero: false } };
  };
  const names = ['previous model', 'after task 2, unaligned', 'now, while being aligned'];
  const color = (name: string) => ({
    datum: name,
    type: 'nominal' as const,
    scale: { domain: names, range: [MODEL_COLORS.previous, '#9A9A9A', MODEL_COLORS.aligned] },
    legend: { title: null, orient: 'top' as const, symbolType: 'square', symbolOpacity: 1, offset: 6 },
  });
  const dot = { type: 'circle' as const, opacity: 1 };
  const dash = { type: 'tick' as const, orient: 'horizontal' as const, thickness: 3, width: 16, opacity: 1 };
  return {
    width: 690,
    height: 190,
    data: { name: 'bars', values: frames[0] },
    encoding: { x },
    layer: [
      {
        mark: { type: 'rule' as const, strokeWidth: 3, color: '#E9B48F' },
        encoding: { y: at('start'), y2: { field: 'now' } },
      },
      { mark: { ...dot, size: 40 }, encoding: { y: at('start'), color: color(names[1]) } },
      { mark: dash, encoding: { y: at('target'), color: color(names[0]) } },
      { mark: { ...dot, size: 70 }, encoding: { y: at('now'), color: color(names[2]) } },
    ],
  };
}

/** The mean distance to the target by step, with a mark at the present one. */
function distancePanel(distance: number[], over: string) {
  const encoding = {
    x: axisOver('step', [0, Math.max(1, distance.length - 1)], {
      title: 'Langevin step',
      grid: false,
      tickCount: 6,
      format: 'd',
      tickMinStep: 1,
      labelFlush: false,
    }),
    y: axisOver('distance', [0, 1.1 * Math.max(...distance) || 1], { title: null, tickCount: 3 }),
  };
  return {
    width: 690,
    height: 56,
    title: {
      text: `mean distance to the previous model’s values${over}`,
      fontSize: 12,
      fontWeight: 'normal' as const,
      frame: 'group' as const,
      offset: 6,
    },
    layer: [
      {
        data: { values: distance.map((value, step) => ({ step, distance: value })) },
        mark: { type: 'line' as const, color: COLOR.rule, strokeWidth: 1.5 },
        encoding,
      },
      {
        data: { name: 'here', values: [{ step: 0, distance: distance[0] }] },
        mark: { type: 'circle' as const, color: MODEL_COLORS.aligned, size: 60, opacity: 1 },
        encoding,
      },
    ],
  };
}
