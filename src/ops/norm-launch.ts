import { empty, launch1d } from '../tensor/create.ts';
import { storedAs, type Tensor } from '../tensor/tensor.ts';
import { rowLayout } from './core/rows.ts';

export interface NormAttrs {
  readonly epsilon: number;
  readonly relu: boolean;
}

/** The dimensions of x [n, channels, height, width] that the kernels use; `count` is the number of values per channel. */
export function planes(x: Tensor): { n: number; channels: number; plane: number; count: number } {
  const [n, channels, height, width] = x.shape;
  return { n, channels, plane: height * width, count: n * height * width };
}

/** How sums over a channel are split: one part per image, up to 256 parts, so that sums stay short. */
function channelRows(x: Tensor) {
  const { n, channels, plane } = planes(x);
  const parts = Math.min(n, 256);
  const images = Math.ceil(n / parts);
  return { parts, images, layout: rowLayout(x.engine, channels * parts, images * plane) };
}

/** Mean and biased variance of each channel of x → [channels, 2]. */
export function launchMoments(x: Tensor): Tensor {
  const { n, channels, plane, count } = planes(x);
  const { parts, images, layout } = channelRows(x);
  const partial = empty(x.engine, [channels, parts, 2]);
  const stats = empty(x.engine, [channels, 2]);
  const consts = storedAs({ Real: x.dtype });
  x.engine.run('norm/moments.wgsl', {
    consts,
    storages: [x.storage, partial.storage],
    params: { offset: x.offset, n, channels, plane, parts, images },
    ...layout,
  });
  launch1d(x.engine, 'norm/moments_finish.wgsl', channels, {
    consts,
    storages: [x.storage, partial.storage, stats.storage],
    params: { offset: x.offset, channels, plane, parts, count },
  });
  partial.dispose();
  return stats;
}

/** Where mean and variance of the channels lie. */
export interface Moments {
  readonly mean: Tensor;
  readonly variance: Tensor;
  readonly offsets: readonly [mean: number, variance: number];
  readonly stride: number;
}

/** (x - mean) / √(variance + ε) · weight + bias, then the residual and the ReLU. */
export function launchNormalize(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  moments: Moments,
  residual: Tensor | undefined,
  { epsilon, relu }: NormAttrs,
): Tensor {
  const { n, channels, plane } = planes(x);
  const y = empty(x.engine, x.shape, x.dtype);
  x.engine.run('norm/normalize.wgsl', {
    consts: storedAs({ Real: x.dtype }),
    storages: [x, weight, bias, moments.mean, moments.variance, residual ?? x, y].map((t) => t.storage),
    overrides: { RELU: relu ? 1 : 0, RESIDUAL: residual === undefined ? 0 : 1 },
    params: {
      plane,
      channels,
      offset_x: x.offset,
      offset_residual: residual?.offset ?? 0,
      offset_weight: weight.offset,
      offset_bias: bias.offset,
      offset_mean: moments.offsets[0],
      offset_variance: moments.offsets[1],
      stride: moments.stride,
      epsilon,
    },
    groups: [Math.ceil(plane / 64), channels, n],
  });
  return y;
}

/** Gradients of x, weight, bias and residual by kernels, which cannot be differentiated again. */
export function launchBackward(
  dy: Tensor,
  x: Tensor,
  weight: Tensor,
  stats: Tensor,
  y: Tensor,
  withResidual: boolean,
  { epsilon, relu }: NormAttrs,
): Tensor[] {
  const { engine } = x;
  const { n, channels, plane, count } = planes(x);
  const { parts, images, layout } = channelRows(x);
  const partial = empty(engine, [channels, parts, 2]);
  const sums = empty(engine, [2, channels]);
  const consts = storedAs({ Real: x.dtype });
  engine.run('norm/backward_sums.wgsl', {
    consts,
    storages: [x, dy, relu ? y : x, stats, partial].map((t) => t.storage),
    params: { n, channels, plane, parts, images, offset_x: x.offset, offset_dy: dy.offset, epsilon },
    ...layout,
    overrides: { ...layout.overrides, RELU: relu ? 1 : 0 },
  });
  launch1d(engine, 'norm/backward_finish.wgsl', channels, {
    storages: [partial.storage, sums.storage],
    params: { channels, parts },
  });
  partial.dispose();
  const dx = empty(engine, x.shape, x.dtype);
  const dresidual = empty(engine, withResidual ? x.shape : [1], x.dtype);
  engine.run('norm/backward.wgsl', {
    consts,
    storages: [x, dy, relu ? y : x, stats, weight, sums, dx, dresidual].map((t) => t.storage),
    overrides: { RELU: relu ? 1 : 0, RESIDUAL: withResidual ? 1 : 0 },
    params: {
      plane,
      channels,
      offset_x: x.offset,
      offset_dy: dy.offset,
      offset_weight: weight.offset,
      inverse_count: 1 / count,
      epsilon,
    },
    groups: [Math.ceil(plane / 64), channels, n],
  });
  const [dw, db] = [0, channels].map((offset) => sums.view([channels], [1], offset));
  sums.dispose();
  if (withResidual) return [dx, dw, db, dresidual];
  dresidual.dispose();
  return [dx, dw, db];
}
