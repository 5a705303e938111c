import { createRequire } from 'node:module';
import type { Gifenc } from 'gifenc';
import { EliError } from '../errors.ts';
import { writeFileAtomic } from '../files/atomic.ts';
import { notInstalled } from '../optional.ts';
import { axisOver, createView, type PictureSpec, rasterize, viewToSvg } from './picture.ts';
import { COLOR, MODEL_COLORS } from './theme.ts';

/** The latents of n samples while they are aligned. */
export interface Movement {
  /** Latents [n, d], row-major, before the first step and after each: steps + 1 arrays. */
  trajectory: readonly Float32Array[];
  n: number;
  d: number;
  /** Mean of the previous model's latents of the same images: [d]. */
  target: Float32Array;
}

type Frames = ReturnType<typeof toFrames>;

/**
 * The mean latent of each frame, for all dimensions or for the `most` that moved most between the first and the last
 * step, in the order of the target, so that it reads as a curve. `distance` is the mean over all d dimensions of
 * |mean latent − target|, per frame.
 *
 * @throws EliError SHAPE for an empty trajectory, or arrays that are not [n, d] and [d]
 */
export function toFrames({ trajectory, n, d, target }: Movement, most = 32) {
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
  const moved = means[means.length - 1].map((last, j) => Math.abs(last - first[j]));
  const shown = [...moved.keys()]
    .sort((a, b) => moved[b] - moved[a])
    .slice(0, most)
    .sort((a, b) => target[a] - target[b]);
  return {
    frames: means.map((mean) =>
      shown.map((j) => ({ dimension: j, start: first[j], now: mean[j], target: target[j] })),
    ),
    distance: means.map((mean) => mean.reduce((sum, value, j) => sum + Math.abs(value - target[j]), 0) / d),
  };
}

/** How long the first, the last and every other frame is shown, in milliseconds. */
const DELAY = { first: 1000, last: 2000, between: 120 };

function loadGifenc(): Gifenc {
  try {
    // By `require`: Node and TypeScript loaders disagree on what `import` gives of this CommonJS module.
    return createRequire(import.meta.url)('gifenc');
  } catch (cause) {
    return notInstalled('animations')(cause);
  }
}

/**
 * Writes `<base>.gif`, one frame per step, about 800 × 450 pixels, and its last frame as `<base>.png`.
 * @param samples the samples averaged over, for the subtitle, such as "class 3"
 */
export async function saveAnimation(
  base: string,
  movement: Movement,
  samples = `${movement.n} test images`,
): Promise<void> {
  const moving = toFrames(movement);
  const { frames, distance } = moving;
  const steps = frames.length - 1;
  const gifenc = loadGifenc();
  const view = await createView(animationSpec(moving, movement.d, samples));
  const draw = async (step: number): Promise<string> => {
    view
      .data('bars', frames[step])
      .data('here', [{ step, distance: distance[step] }])
      .signal('step', step);
    return viewToSvg(view);
  };
  try {
    // All frames take the palette of the last, which has every colour at full strength.
    const end = await draw(steps);
    const palette = gifenc.quantize((await rasterize(end, 1)).pixels, 64);
    const gif = gifenc.GIFEncoder();
    for (let step = 0; step <= steps; step++) {
      const { pixels, width, height } = await rasterize(await draw(step), 1);
      gif.writeFrame(gifenc.applyPalette(pixels, palette), width, height, {
        // Given once, the palette is global: a frame without one uses it.
        ...(step === 0 ? { palette, repeat: 0 } : {}),
        delay: step === 0 ? DELAY.first : step === steps ? DELAY.last : DELAY.between,
      });
    }
    gif.finish();
    await writeFileAtomic(`${base}.gif`, gif.bytes());
    await writeFileAtomic(`${base}.png`, (await rasterize(end)).asPng());
  } finally {
    view.finalize();
  }
}

/** The picture of one step; the data sets `bars` and `here` and the signal `step` change it. */
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

/** The mean of each dimension at one step, a line from its start to it, and the previous model's mean as a dash. */
function barsPanel(frames: Frames['frames']) {
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
  const at = (field: string) =>
    axisOver(field, [low - margin, high + margin], { title: 'mean latent value', tickCount: 5 });
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

/** The mean distance to the target by step, with a mark at the current step. */
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
