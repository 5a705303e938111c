import { empty, launch1d } from '../tensor/create.ts';
import { storedAs, type Tensor } from '../tensor/tensor.ts';
import type { ParamValues } from '../wgsl/reflect.ts';
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

/**
 * Pairs of sums over each channel of x, one pair per image where there are up to 256 images, so that sums stay short →
 * [channels, parts, 2].
 */
function partialSums(
  file: string,
  x: Tensor,
  inputs: readonly Tensor[],
  own: { readonly params: ParamValues; readonly overrides?: { readonly RELU: number } },
): Tensor {
  const { n, channels, plane } = planes(x);
  const parts = Math.min(n, 256);
  const images = Math.ceil(n / parts);
  const partial = empty(x.engine, [channels, parts, 2]);
  const { overrides, groups } = rowLayout(x.engine, channels * parts, images * plane);
  x.engine.run(file, {
    consts: storedAs({ Real: x.dtype }),
    storages: [...inputs, partial].map((t) => t.storage),
    params: { n, channels, plane, parts, images, ...own.params },
    overrides: { ...overrides, ...own.overrides },
    groups,
  });
  return partial;
}

/** Mean and biased variance of each channel of x → [channels, 2]. */
export function launchMoments(x: Tensor): Tensor {
  const { channels, plane, count } = planes(x);
  const partial = partialSums('norm/moments.wgsl', x, [x], { params: { offset: x.offset } });
  const stats = empty(x.engine, [channels, 2]);
  launch1d(x.engine, 'norm/moments_finish.wgsl', channels, {
    consts: storedAs({ Real: x.dtype }),
    storages: [x.storage, partial.storage, stats.storage],
    params: { offset: x.offset, channels, plane, parts: partial.shape[1], count },
  });
  partial.dispose();
  return stats;
}

/** (x - mean) / √(variance + ε) · weight + bias, then the residual and the ReLU. */
export function launchNormalize(
  [x, weight, bias, residual]: readonly Tensor[],
  [mean, variance]: readonly Tensor[],
  { epsilon, relu }: NormAttrs,
): Tensor {
  const { n, channels, plane } = planes(x);
  const y = empty(x.engine, x.shape, x.dtype);
  x.engine.run('norm/normalize.wgsl', {
    consts: storedAs({ Real: x.dtype }),
    storages: [x, weight, bias, mean, variance, residual ?? x, y].map((t) => t.storage),
    overrides: { RELU: relu ? 1 : 0, RESIDUAL: residual === undefined ? 0 : 1 },
    params: {
      plane,
      channels,
      offset_x: x.offset,
      offset_residual: residual?.offset ?? 0,
      offset_weight: weight.offset,
      offset_bias: bias.offset,
      offset_mean: mean.offset,
      offset_variance: variance.offset,
      stride: mean.strides[0],
      epsilon,
    },
    groups: [Math.ceil(plane / 64), channels, n],
  });
  return y;
}

/** Gradients of x, weight, bias and residual by kernels, which cannot be differentiated again. */
export function launchBackward(
  dy: Tensor,
  [x, weight, , residual]: readonly Tensor[],
  stats: Tensor,
  y: Tensor,
  { epsilon, relu }: NormAttrs,
): Tensor[] {
  const { engine } = x;
  const { n, channels, plane, count } = planes(x);
  const read = [x, dy, relu ? y : x, stats];
  const RELU = relu ? 1 : 0;
  const partial = partialSums('norm/backward_sums.wgsl', x, read, {
    params: { offset_x: x.offset, offset_dy: dy.offset, epsilon },
    overrides: { RELU },
  });
  const sums = empty(engine, [2, channels]);
  launch1d(engine, 'norm/backward_finish.wgsl', channels, {
    storages: [partial.storage, sums.storage],
    params: { channels, parts: partial.shape[1] },
  });
  partial.dispose();
  const dx = empty(engine, x.shape, x.dtype);
  const dresidual = empty(engine, residual?.shape ?? [1], x.dtype);
  engine.run('norm/backward.wgsl', {
    consts: storedAs({ Real: x.dtype }),
    storages: [...read, weight, sums, dx, dresidual].map((t) => t.storage),
    overrides: { RELU, RESIDUAL: residual === undefined ? 0 : 1 },
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
  if (residual !== undefined) return [dx, dw, db, dresidual];
  dresidual.dispose();
  return [dx, dw, db];
}
