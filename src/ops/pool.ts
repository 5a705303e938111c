import { EliError } from '../errors.ts';
import { empty, launch1d } from '../tensor/create.ts';
import { type Shape, showShape, sizeOf } from '../tensor/shape.ts';
import { checkTensor, floatDType, storedAs, type Tensor } from '../tensor/tensor.ts';
import { checkImage, type Pair, pair, type Window, windowOutput } from './conv-window.ts';
import { caseOf, defineOp, EXACT, type Op, ROUNDING } from './core/define.ts';
import { build, type NdArray, ndarray, valueAt } from './core/ndarray.ts';
import { mean } from './reduce.ts';
import { resample } from './resize.ts';
import { contiguous, reshape } from './views.ts';

/** How pooling windows are laid out. */
export interface PoolOptions {
  /** Default: the kernel size, so that windows neither overlap nor leave gaps. */
  readonly stride?: Pair;
  /** Default 0; at most half the kernel. */
  readonly padding?: Pair;
  /** Round the number of windows up: a last window may end past the padded image. Default false. */
  readonly ceilMode?: boolean;
}

/** Settings of maximum pooling. */
export interface MaxPoolOptions extends PoolOptions {
  /** Default 1. */
  readonly dilation?: Pair;
}

/** Settings of average pooling. */
export interface AvgPoolOptions extends PoolOptions {
  /** Whether the zeros of the padding count in the average. Default true. */
  readonly countIncludePad?: boolean;
}

/** @throws EliError `ARGUMENT` for options that are not whole numbers or padding of more than half the kernel. */
function poolWindow(op: string, kernel: Pair, options: MaxPoolOptions): Window {
  const size = pair(op, 'kernel', kernel, 1);
  const padding = pair(op, 'padding', options.padding ?? 0, 0);
  if (padding.some((p, d) => 2 * p > size[d])) {
    throw new EliError(
      'ARGUMENT',
      `${op}: padding ${padding.join(' × ')} is more than half the kernel ${size.join(' × ')}`,
      { hint: 'a window must reach the image; use pad for wider borders' },
    );
  }
  return {
    kernel: size,
    stride: options.stride === undefined ? size : pair(op, 'stride', options.stride, 1),
    padding,
    dilation: pair(op, 'dilation', options.dilation ?? 1, 1),
  };
}

interface MaxAttrs extends Window {
  readonly out: readonly [number, number];
}

/** The usual window: 2 × 2 with stride 2. */
const HALVING = { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1] } as const;

const maxIndexOp = defineOp<MaxAttrs>({
  name: 'maxPoolIndex',
  dense: true,
  forward: ([x], attrs) => {
    const { kernel, stride, padding, dilation, out } = attrs;
    const y = empty(x.engine, [...x.shape.slice(0, 2), ...out], 'u32');
    launch1d(y.engine, 'pool/max_index.wgsl', y.size, {
      consts: storedAs({ Real: x.dtype }),
      storages: [x.storage, y.storage],
      overrides: { KERNEL_Y: kernel[0], KERNEL_X: kernel[1] },
      params: { n: y.size, offset: x.offset, size: x.shape.slice(2), out, stride, padding, dilation },
    });
    return y;
  },
  reference: ([x], { kernel, stride, padding, dilation, out }) => {
    const [images, channels, height, width] = x.shape;
    return build([images, channels, ...out], ([n, c, oy, ox]) => {
      let best = Number.NEGATIVE_INFINITY;
      let at = -1;
      for (let ky = 0; ky < kernel[0]; ky++) {
        for (let kx = 0; kx < kernel[1]; kx++) {
          const iy = oy * stride[0] - padding[0] + ky * dilation[0];
          const ix = ox * stride[1] - padding[1] + kx * dilation[1];
          if (iy < 0 || ix < 0 || iy >= height || ix >= width) continue;
          const value = valueAt(x, [n, c, iy, ix]);
          if (at >= 0 && (value <= best || Number.isNaN(best))) continue;
          best = value;
          at = iy * width + ix;
        }
      }
      return at;
    });
  },
  bench: [caseOf({ ...HALVING, out: [14, 14] }, [128, 16, 28, 28])],
  cases: [
    caseOf({ ...HALVING, out: [3, 3] }, [2, 3, 7, 6]),
    // Small whole numbers: nearly every window has a tie. Ceil mode, padding, overlapping windows.
    caseOf(
      { ...HALVING, kernel: [3, 3], padding: [1, 1], out: [4, 3] },
      { shape: [1, 2, 6, 5], values: Array.from({ length: 60 }, (_, i) => (i * i) % 3) },
    ),
    caseOf({ kernel: [2, 3], stride: [3, 1], padding: [0, 1], dilation: [2, 1], out: [3, 8] }, [1, 1, 9, 8]),
    caseOf({ ...HALVING, kernel: [1, 1], stride: [1, 1], out: [1, 1] }, [1, 1, 1, 1]),
  ],
  half: true,
  tolerance: EXACT,
});

interface PlaneAttrs extends Window {
  /** Height and width of x. */
  readonly size: readonly [number, number];
}

/** Windows that each reach every pixel, so that any index is valid. */
const WHOLE: PlaneAttrs = { ...HALVING, kernel: [5, 7], stride: [1, 2], padding: [2, 3], size: [3, 4] };
const WHOLE_OUT: Shape = [2, 3, 3, 2];
const WHOLE_INDEX = { shape: WHOLE_OUT, dtype: 'u32', below: 12 } as const;

const takeOp: Op<PlaneAttrs> = defineOp<PlaneAttrs>({
  name: 'poolTake',
  dense: true,
  forward: ([x, index], { size }) => {
    const y = empty(x.engine, index.shape, x.dtype);
    launch1d(y.engine, 'pool/take.wgsl', y.size, {
      consts: storedAs({ Real: x.dtype }),
      storages: [x.storage, index.storage, y.storage],
      params: {
        n: y.size,
        plane_x: size[0] * size[1],
        plane_y: index.shape[2] * index.shape[3],
        offset_x: x.offset,
        offset_index: index.offset,
      },
    });
    return y;
  },
  backward: ({ grad, inputs: [, index], attrs }) => [putOp([contiguous(grad), index], attrs), undefined],
  reference: ([x, index], { size }) =>
    ndarray(
      index.shape,
      placesOf(index, size).map((at) => x.data[at]),
    ),
  cases: [caseOf(WHOLE, [2, 3, 3, 4], WHOLE_INDEX)],
  half: true,
  tolerance: EXACT,
  cost: (_, y) => ({ flops: 0, bytes: 12 * sizeOf(y) }),
});

const putOp: Op<PlaneAttrs> = defineOp<PlaneAttrs>({
  name: 'poolPut',
  dense: true,
  forward: ([y, index], attrs) => {
    const { kernel, stride, padding, dilation, size } = attrs;
    const x = empty(y.engine, [y.shape[0], y.shape[1], ...size], y.dtype);
    launch1d(x.engine, 'pool/put.wgsl', x.size, {
      consts: storedAs({ Real: y.dtype }),
      storages: [y.storage, index.storage, x.storage],
      overrides: {
        STRIDE_Y: stride[0],
        STRIDE_X: stride[1],
        REACH_Y: dilation[0] * (kernel[0] - 1),
        REACH_X: dilation[1] * (kernel[1] - 1),
      },
      params: {
        n: x.size,
        size,
        out: y.shape.slice(2),
        padding,
        offset_y: y.offset,
        offset_index: index.offset,
      },
    });
    return x;
  },
  backward: ({ grad, inputs: [, index], attrs }) => [takeOp([contiguous(grad), index], attrs), undefined],
  reference: ([y, index], { size }) => {
    const x = ndarray([...y.shape.slice(0, 2), ...size]);
    placesOf(index, size).forEach((at, i) => {
      x.data[at] += y.data[i];
    });
    return x;
  },
  cases: [caseOf(WHOLE, WHOLE_OUT, WHOLE_INDEX)],
  half: true,
  tolerance: ROUNDING,
  cost: ([y], x) => ({ flops: sizeOf(y), bytes: 4 * (2 * sizeOf(y) + sizeOf(x)) }),
});

/** The flat positions in [n, c, ...size] of an index [n, c, oh, ow] into its planes. */
function placesOf({ shape: [, , oh, ow], data }: NdArray, [height, width]: Shape): Float64Array {
  return data.map((at, i) => Math.floor(i / (oh * ow)) * height * width + at);
}

/**
 * Largest element of each window of x [n, c, h, w] → [n, c, oh, ow]. Padding counts as −∞; of equal maxima the first
 * in row-major order gets the gradient (PyTorch's rule).
 * @throws EliError `SHAPE` when the window is larger than the padded image or lies entirely in the padding,
 * `ARGUMENT` for options that are not whole numbers or padding of more than half the kernel.
 */
export function maxPool2d(x: Tensor, kernel: Pair, options: MaxPoolOptions = {}): Tensor {
  checkTensor('maxPool2d: x', x);
  checkImage('maxPool2d', x);
  floatDType('maxPool2d', x);
  const window = poolWindow('maxPool2d', kernel, options);
  const out = windowOutput('maxPool2d', x.shape, window, options.ceilMode);
  checkTaps(x.shape, window, out);
  const dense = contiguous(x);
  const index = maxIndexOp([dense], { ...window, out });
  return takeOp([dense, index], { ...window, size: [x.shape[2], x.shape[3]] });
}

/** Rejects windows without a tap in the image: a dilated window can step over a small image. */
function checkTaps(image: Shape, window: Window, out: readonly number[]): void {
  for (const d of [0, 1] as const) {
    for (let o = 0; o < out[d]; o++) {
      const start = o * window.stride[d] - window.padding[d];
      const taps = Array.from({ length: window.kernel[d] }, (_, k) => start + k * window.dilation[d]);
      if (taps.some((at) => at >= 0 && at < image[d + 2])) continue;
      throw new EliError(
        'SHAPE',
        `maxPool2d: window ${o} along axis ${d + 2} of ${showShape(image)} lies entirely in the padding`,
        { hint: 'use less padding or dilation' },
      );
    }
  }
}

/**
 * Mean of each window of x [n, c, h, w] → [n, c, oh, ow]. With `countIncludePad` the divisor is the size of the window
 * inside the padded image, otherwise inside the image (PyTorch's rules, also in ceil mode).
 * @throws EliError as maxPool2d.
 */
export function avgPool2d(x: Tensor, kernel: Pair, options: AvgPoolOptions = {}): Tensor {
  checkTensor('avgPool2d: x', x);
  checkImage('avgPool2d', x);
  const window = poolWindow('avgPool2d', kernel, options);
  const out = windowOutput('avgPool2d', x.shape, window, options.ceilMode);
  const { kernel: size, stride, padding } = window;
  const includePadding = options.countIncludePad ?? true;
  return resample('avgPool2d', x, { mode: 'average', kernel: size, stride, padding, includePadding }, out);
}

/** Mean of each plane: x [n, c, h, w] → [n, c]. */
export function globalAvgPool(x: Tensor): Tensor {
  checkImage('globalAvgPool', x);
  return mean(reshape(x, [x.shape[0], x.shape[1], -1]), 2);
}

/**
 * Means over windows that cover x [n, c, h, w] evenly → [n, c, ...size]; window o of `out` goes from ⌊o · h / out⌋ to
 * ⌈(o + 1) · h / out⌉, excluded.
 * @throws EliError `SHAPE` unless x has four dimensions, `ARGUMENT` for a size that is not positive.
 */
export function adaptiveAvgPool2d(x: Tensor, size: Pair): Tensor {
  const out = pair('adaptiveAvgPool2d', 'size', size, 1);
  checkImage('adaptiveAvgPool2d', x);
  if (out[0] === 1 && out[1] === 1) return reshape(globalAvgPool(x), [...x.shape.slice(0, 2), 1, 1]);
  return resample('adaptiveAvgPool2d', x, { mode: 'adaptive' }, out);
}
