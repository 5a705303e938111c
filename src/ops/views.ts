import { EliError } from '../errors.ts';
import { empty, launch1d, zeros } from '../tensor/create.ts';
import {
  broadcastShapes,
  denseStrides,
  normalizeAxis,
  type Shape,
  sameShape,
  showShape,
  sizeOf,
} from '../tensor/shape.ts';
import { movedAs, type Tensor } from '../tensor/tensor.ts';
import { defineOp, EXACT } from './core/define.ts';
import { atBroadcast, build, ndarray, ravel, unravel } from './core/ndarray.ts';
import { broadcastStrides, stridedParams } from './core/strided.ts';
import { sumTo } from './reduce.ts';

/** Copies `x` (any strides) into the place in `target` that starts at `offset` elements and has `strides`. */
export function copyInto(x: Tensor, target: Tensor, strides: readonly number[], offset: number): void {
  const { shape, rank, strides: walks } = stridedParams(x.shape, [x.strides, strides]);
  const [from, to] = walks as [number[], number[]];
  const place = target.offset + offset;
  const dense = denseStrides(shape);
  const fours = to.every((stride, d) => stride === dense[d]) && shape.at(-1)! % 4 === 0 && place % 4 === 0;
  launch1d(
    x.engine,
    fours ? 'elementwise/copy_fours.wgsl' : 'elementwise/copy.wgsl',
    fours ? x.size / 4 : x.size,
    {
      storages: [x.storage, target.storage],
      overrides: { RANK: rank },
      consts: movedAs(x.dtype),
      params: {
        shape,
        stride_x: from,
        n: fours ? x.size / 4 : x.size,
        offset_x: x.offset,
        offset_y: fours ? place / 4 : place,
        ...(fours ? {} : { stride_y: to }),
      },
    },
  );
}

const contiguousOp = defineOp<null>({
  name: 'contiguous',
  forward: ([x]) => {
    const y = empty(x!.engine, x!.shape, x!.dtype);
    copyInto(x!, y, y.strides, 0);
    return y;
  },
  backward: ({ grad }) => [grad],
  reference: ([x]) => x!,
  cases: [
    { inputs: [{ shape: [7, 33], transposed: true }], attrs: null },
    { inputs: [{ shape: [1] }], attrs: null },
  ],
  bench: [{ inputs: [{ shape: [1024, 1024], transposed: true }], attrs: null }],
  half: true,
  tolerance: EXACT,
  cost: ([x]) => ({ flops: 0, bytes: 8 * sizeOf(x!) }),
});

/** `x` itself when it is dense, else a dense copy. */
export function contiguous(x: Tensor): Tensor {
  return x.isContiguous ? x : contiguousOp([x], null);
}

/** `x` itself when it is dense and fills its buffer from the start, else such a copy: for kernels that take no offset. */
export function compact(x: Tensor): Tensor {
  return x.isContiguous && x.offset === 0 ? x : contiguousOp([x], null);
}

const reshapeOp = defineOp<{ shape: Shape }>({
  name: 'reshape',
  forward: ([x], { shape }) => {
    if (sizeOf(shape) !== x!.size) {
      throw new EliError(
        'SHAPE',
        `reshape: ${showShape(x!.shape)} (${x!.size} elements) does not fill ${showShape(shape)}`,
      );
    }
    return x!.view(shape, denseStrides(shape), x!.offset);
  },
  backward: ({ grad, inputs }) => [reshape(grad, inputs[0]!.shape)],
  reference: ([x], { shape }) => ndarray(shape, x!.data),
  cases: [{ inputs: [{ shape: [6, 7] }], attrs: { shape: [3, 14] } }],
  half: true,
  tolerance: EXACT,
});

/** The elements in another shape; a view when `x` is dense. One dimension may be -1: it is worked out. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = shape.reduce((product, n) => (n === -1 ? product : product * n), 1);
  return reshapeOp([contiguous(x)], { shape: shape.map((n) => (n === -1 ? x.size / known : n)) });
}

const permuteOp = defineOp<{ axes: readonly number[] }>({
  name: 'permute',
  forward: ([x], { axes }) =>
    x!.view(
      axes.map((a) => x!.shape[a]!),
      axes.map((a) => x!.strides[a]!),
      x!.offset,
    ),
  backward: ({ grad, attrs }) => [
    permute(
      grad,
      attrs.axes.map((_, i) => attrs.axes.indexOf(i)),
    ),
  ],
  reference: ([x], { axes }) =>
    build(
      axes.map((a) => x!.shape[a]!),
      (index) =>
        x!.data[
          ravel(
            x!.shape,
            x!.shape.map((_, d) => index[axes.indexOf(d)]!),
          )
        ]!,
    ),
  cases: [{ inputs: [{ shape: [3, 5, 7] }], attrs: { axes: [2, 0, 1] } }],
  half: true,
  tolerance: EXACT,
});

/** Reorders dimensions: `axes[i]` is the dimension of `x` that becomes dimension i. A view. */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  const list = axes.map((axis) => normalizeAxis('permute', axis, x.shape));
  if (list.length !== x.rank || new Set(list).size !== x.rank) {
    throw new EliError(
      'SHAPE',
      `permute: axes ${showShape(axes)} do not name each dimension of ${showShape(x.shape)} once`,
    );
  }
  return permuteOp([x], { axes: list });
}

/** Swaps the last two dimensions. A view. */
export function transpose(x: Tensor): Tensor {
  if (x.rank < 2)
    throw new EliError('SHAPE', `transpose: ${showShape(x.shape)} has fewer than two dimensions`);
  return permute(x, [...x.shape.keys()].slice(0, -2).concat(x.rank - 1, x.rank - 2));
}

interface SliceAttrs {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
}

const sliceOp = defineOp<SliceAttrs>({
  name: 'slice',
  forward: ([x], { axis, start, end }) =>
    x!.view(
      x!.shape.map((n, d) => (d === axis ? end - start : n)),
      x!.strides,
      x!.offset + start * x!.strides[axis]!,
    ),
  backward: ({ grad, inputs, attrs }) => [
    embedOp([grad], {
      axis: attrs.axis,
      before: attrs.start,
      after: inputs[0]!.shape[attrs.axis]! - attrs.end,
    }),
  ],
  reference: ([x], { axis, start, end }) =>
    build(
      x!.shape.map((n, d) => (d === axis ? end - start : n)),
      (index) =>
        x!.data[
          ravel(
            x!.shape,
            index.map((k, d) => (d === axis ? k + start : k)),
          )
        ]!,
    ),
  cases: [{ inputs: [{ shape: [5, 9] }], attrs: { axis: 1, start: 2, end: 7 } }],
  half: true,
  tolerance: EXACT,
});

/** Elements `start` (included) to `end` (excluded) along `axis`. A view. */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  const at = normalizeAxis('slice', axis, x.shape);
  if (
    !(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= x.shape[at]!)
  ) {
    throw new EliError(
      'SHAPE',
      `slice: ${start} to ${end} is not a range of axis ${at} of ${showShape(x.shape)}`,
    );
  }
  return sliceOp([x], { axis: at, start, end });
}

const embedOp = defineOp<{ axis: number; before: number; after: number }>({
  name: 'pad',
  forward: ([x], { axis, before, after }) => {
    const y = zeros(
      x!.engine,
      x!.shape.map((n, d) => (d === axis ? n + before + after : n)),
      x!.dtype,
    );
    copyInto(x!, y, y.strides, before * y.strides[axis]!);
    return y;
  },
  backward: ({ grad, inputs, attrs }) => [
    slice(grad, attrs.axis, attrs.before, attrs.before + inputs[0]!.shape[attrs.axis]!),
  ],
  reference: ([x], { axis, before, after }) =>
    build(
      x!.shape.map((n, d) => (d === axis ? n + before + after : n)),
      (index) => {
        const k = index[axis]! - before;
        return k < 0 || k >= x!.shape[axis]! ? 0 : x!.data[ravel(x!.shape, index.with(axis, k))]!;
      },
    ),
  cases: [{ inputs: [{ shape: [3, 4] }], attrs: { axis: 0, before: 2, after: 1 } }],
  half: true,
  tolerance: EXACT,
});

/** `x` with `before` and `after` zeros added along `axis`. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  return embedOp([x], { axis: normalizeAxis('pad', axis, x.shape), before, after });
}

const expandOp = defineOp<{ shape: Shape }>({
  name: 'expand',
  forward: ([x], { shape }) => x!.view(shape, broadcastStrides(x!, shape), x!.offset),
  backward: ({ grad, inputs }) => [sumTo(grad, inputs[0]!.shape)],
  reference: ([x], { shape }) => build(shape, (index) => atBroadcast(x!, index)),
  cases: [{ inputs: [{ shape: [3, 1] }], attrs: { shape: [2, 3, 5] } }],
  half: true,
  tolerance: EXACT,
});

/** `x` repeated to `shape` by broadcasting. A view. */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (!sameShape(broadcastShapes('expand', x.shape, shape), shape)) {
    throw new EliError('SHAPE', `expand: ${showShape(x.shape)} does not expand to ${showShape(shape)}`);
  }
  return sameShape(x.shape, shape) ? x : expandOp([x], { shape });
}

const concatOp = defineOp<{ axis: number }>({
  name: 'concat',
  forward: (xs, { axis }) => {
    const shape = xs[0]!.shape.with(
      axis,
      xs.reduce((sum, x) => sum + x.shape[axis]!, 0),
    );
    const y = empty(xs[0]!.engine, shape, xs[0]!.dtype);
    let at = 0;
    for (const x of xs) {
      copyInto(x, y, y.strides, at * y.strides[axis]!);
      at += x.shape[axis]!;
    }
    return y;
  },
  backward: ({ grad, inputs, attrs }) => {
    let at = 0;
    return inputs.map((x) => {
      const start = at;
      at += x.shape[attrs.axis]!;
      return slice(grad, attrs.axis, start, at);
    });
  },
  reference: (xs, { axis }) => {
    const out = ndarray(
      xs[0]!.shape.with(
        axis,
        xs.reduce((sum, x) => sum + x.shape[axis]!, 0),
      ),
    );
    let at = 0;
    for (const x of xs) {
      x.data.forEach((value, i) => {
        const index = unravel(x.shape, i);
        out.data[ravel(out.shape, index.with(axis, index[axis]! + at))] = value;
      });
      at += x.shape[axis]!;
    }
    return out;
  },
  cases: [
    { inputs: [{ shape: [2, 3] }, { shape: [2, 1] }, { shape: [2, 7] }], attrs: { axis: 1 } },
    { inputs: [{ shape: [2, 3] }, { shape: [5, 3], transposed: true }], attrs: { axis: 0 } },
  ],
  half: true,
  tolerance: EXACT,
});

/** Joins tensors along `axis`; their other dimensions must agree. */
export function concat(xs: readonly Tensor[], axis: number): Tensor {
  const first = xs[0];
  if (first === undefined) throw new EliError('ARGUMENT', 'concat: no tensors were given');
  const at = normalizeAxis('concat', axis, first.shape);
  for (const x of xs) {
    if (x.dtype !== first.dtype)
      throw new EliError('DTYPE', `concat: ${first.dtype} and ${x.dtype} cannot be joined`);
    if (x.rank !== first.rank || x.shape.some((n, d) => d !== at && n !== first.shape[d])) {
      throw new EliError(
        'SHAPE',
        `concat: shapes ${showShape(first.shape)} and ${showShape(x.shape)} differ outside axis ${at}`,
      );
    }
  }
  return concatOp(xs, { axis: at });
}
