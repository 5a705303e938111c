import { EliError } from '../errors.ts';
import { empty, launch1d } from '../tensor/create.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../tensor/tensor.ts';
import { checkImage, type Pair, pair } from './conv-window.ts';
import { defineOp, type Op, ROUNDING } from './core/define.ts';
import { build, type NdArray, valueAt } from './core/ndarray.ts';
import { contiguous } from './views.ts';

/** How each axis of an image is mapped: the rule for the weights of inputs in each output. */
export type Axes =
  | {
      readonly mode: 'average';
      readonly kernel: readonly [number, number];
      readonly stride: readonly [number, number];
      readonly padding: readonly [number, number];
      readonly includePadding: boolean;
    }
  | { readonly mode: 'adaptive' }
  | { readonly mode: 'nearest' }
  | { readonly mode: 'bilinear'; readonly alignCorners: boolean };

/** A linear map of planes of `size` to planes of `out`, row by row and column by column, or its transpose. */
export interface Resample {
  readonly axes: Axes;
  readonly size: readonly [number, number];
  readonly out: readonly [number, number];
  readonly transposed: boolean;
}

/** The modes by their numbers in shaders/pool/resample.wgsl. */
export const RESAMPLE_CODES = { average: 0, adaptive: 1, nearest: 2, bilinear: 3 } as const satisfies Record<
  Axes['mode'],
  number
>;

/** The position of output o of `out` among `size` inputs: o · scale + shift (PyTorch's rule). */
function bilinearPlaces(size: number, out: number, alignCorners: boolean): { scale: number; shift: number } {
  if (alignCorners) return { scale: out === 1 ? 0 : (size - 1) / (out - 1), shift: 0 };
  return { scale: size / out, shift: 0.5 * (size / out) - 0.5 };
}

/** The weights [out][size] of one axis in float64. */
function axisWeights(axes: Axes, d: 0 | 1, size: number, out: number): number[][] {
  return Array.from({ length: out }, (_, o) => {
    const row = new Array<number>(size).fill(0);
    if (axes.mode === 'average') {
      const start = o * axes.stride[d] - axes.padding[d];
      const end = Math.min(start + axes.kernel[d], size + axes.padding[d]);
      const inside = [...row.keys()].filter((i) => i >= start && i < end);
      for (const i of inside) row[i] = 1 / (axes.includePadding ? end - start : inside.length);
    } else if (axes.mode === 'adaptive') {
      const start = Math.floor((o * size) / out);
      const end = Math.ceil(((o + 1) * size) / out);
      row.fill(1 / (end - start), start, end);
    } else if (axes.mode === 'nearest') {
      row[Math.floor((o * size) / out)] = 1;
    } else {
      const { scale, shift } = bilinearPlaces(size, out, axes.alignCorners);
      const at = Math.max(o * scale + shift, 0);
      const low = Math.min(Math.floor(at), size - 1);
      row[low] += 1 - (at - low);
      row[Math.min(low + 1, size - 1)] += at - low;
    }
    return row;
  });
}

function resultShape(x: Shape, { size, out, transposed }: Resample): Shape {
  return [...x.slice(0, 2), ...(transposed ? size : out)];
}

function reference(x: NdArray, attrs: Resample): NdArray {
  const { axes, size, out, transposed } = attrs;
  const rows = axisWeights(axes, 0, size[0], out[0]);
  const columns = axisWeights(axes, 1, size[1], out[1]);
  const [, , height, width] = x.shape;
  return build(resultShape(x.shape, attrs), ([n, c, ty, tx]) => {
    let total = 0;
    for (let sy = 0; sy < height; sy++) {
      for (let sx = 0; sx < width; sx++) {
        const w = transposed ? rows[sy][ty] * columns[sx][tx] : rows[ty][sy] * columns[tx][sx];
        // Not 0 · ∞: elements that a window does not reach are left out.
        if (w !== 0) total += w * valueAt(x, [n, c, sy, sx]);
      }
    }
    return total;
  });
}

const window = (kernel: number, stride: number, padding: number, includePadding = true): Axes => ({
  mode: 'average',
  kernel: [kernel, kernel],
  stride: [stride, stride],
  padding: [padding, padding],
  includePadding,
});

/** One case for each direction. */
function bothWays(axes: Axes, size: readonly [number, number], out: readonly [number, number]) {
  return [
    { inputs: [{ shape: [2, 3, ...size] }], attrs: { axes, size, out, transposed: false } },
    { inputs: [{ shape: [2, 3, ...out] }], attrs: { axes, size, out, transposed: true } },
  ];
}

const resampleOp: Op<Resample> = defineOp<Resample>({
  name: 'resample',
  dense: true,
  forward: ([x], attrs) => {
    const { axes, size, out, transposed } = attrs;
    const y = empty(x.engine, resultShape(x.shape, attrs), x.dtype);
    const average = axes.mode === 'average' ? axes : undefined;
    const places = ([0, 1] as const).map((d) =>
      bilinearPlaces(size[d], out[d], axes.mode === 'bilinear' && axes.alignCorners),
    );
    launch1d(y.engine, 'pool/resample.wgsl', y.size, {
      storages: [x.storage, y.storage],
      overrides: { MODE: RESAMPLE_CODES[axes.mode], TRANSPOSED: transposed ? 1 : 0 },
      consts: storedAs({ Real: x.dtype }),
      params: {
        n: y.size,
        offset: x.offset,
        size,
        out,
        kernel: average?.kernel ?? [1, 1],
        stride: average?.stride ?? [1, 1],
        padding: average?.padding ?? [0, 0],
        scale: places.map((p) => p.scale),
        shift: places.map((p) => p.shift),
        include_padding: average?.includePadding === true ? 1 : 0,
      },
    });
    return y;
  },
  backward: ({ grad, attrs }) => [
    resampleOp([contiguous(grad)], { ...attrs, transposed: !attrs.transposed }),
  ],
  reference: ([x], attrs) => reference(x, attrs),
  cases: [
    ...bothWays(window(2, 2, 0), [7, 6], [3, 3]),
    ...bothWays(window(3, 2, 1), [6, 5], [4, 3]), // ceil mode: the last window ends past the padding
    ...bothWays(window(3, 2, 1, false), [6, 5], [4, 3]),
    ...bothWays(window(2, 3, 0), [8, 9], [3, 3]), // stride larger than the window
    ...bothWays(window(1, 1, 0), [1, 1], [1, 1]),
    ...bothWays({ mode: 'adaptive' }, [5, 7], [3, 7]),
    ...bothWays({ mode: 'adaptive' }, [2, 3], [5, 4]),
    ...bothWays({ mode: 'nearest' }, [5, 3], [7, 9]),
    ...bothWays({ mode: 'nearest' }, [7, 9], [3, 1]),
    ...bothWays({ mode: 'bilinear', alignCorners: false }, [5, 3], [7, 9]),
    ...bothWays({ mode: 'bilinear', alignCorners: false }, [7, 9], [3, 1]),
    ...bothWays({ mode: 'bilinear', alignCorners: true }, [4, 3], [7, 1]),
  ],
  half: true,
  tolerance: ROUNDING,
  cost: ([x], y) => ({ flops: 2 * Math.max(sizeOf(x), sizeOf(y)), bytes: 4 * (sizeOf(x) + sizeOf(y)) }),
});

/** Maps the planes of x [n, c, h, w] to [n, c, ...out]. @throws EliError `SHAPE` unless x has four dimensions, `DTYPE`. */
export function resample(op: string, x: Tensor, axes: Axes, out: readonly [number, number]): Tensor {
  checkImage(op, x);
  floatDType(op, x);
  return resampleOp([contiguous(x)], { axes, size: [x.shape[2], x.shape[3]], out, transposed: false });
}

/** How images are interpolated. */
export interface ResizeOptions {
  /** Default `nearest`. */
  readonly mode?: 'nearest' | 'bilinear';
  /** Bilinear only: whether the corner pixels of both images coincide. Default false. */
  readonly alignCorners?: boolean;
}

/**
 * Images x [n, c, h, w] at another size → [n, c, ...size]. `nearest` takes pixel ⌊o · h / size⌋, computed in whole
 * numbers; `bilinear` is PyTorch's interpolate, without antialiasing.
 * @throws EliError `SHAPE` unless x has four dimensions, `ARGUMENT` for a size that is not positive or a wrong mode.
 */
export function resize(x: Tensor, size: Pair, options: ResizeOptions = {}): Tensor {
  const { mode = 'nearest', alignCorners = false } = options;
  if (mode !== 'nearest' && mode !== 'bilinear')
    throw new EliError('ARGUMENT', `resize: mode ${String(mode)} is neither nearest nor bilinear`);
  if (mode === 'nearest' && alignCorners)
    throw new EliError('ARGUMENT', 'resize: alignCorners belongs to the mode bilinear');
  const out = pair('resize', 'size', size, 1);
  return resample('resize', x, mode === 'nearest' ? { mode } : { mode, alignCorners }, out);
}
