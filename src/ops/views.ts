import { EliError, nameOf } from '../errors.ts';
import { empty, zeros } from '../tensor/create.ts';
import { normalizeAxis, type Shape, showShape } from '../tensor/shape.ts';
import { checkTensor, type Tensor } from '../tensor/tensor.ts';
import { COPIES, caseOf, defineOp } from './core/define.ts';
import { copyInto } from './core/layout.ts';
import { build, valueAt } from './core/ndarray.ts';

export { compact, contiguous, copyInto, reshape } from './core/layout.ts';
export { expand } from './core/sum.ts';

/** The elements of a list at `axes`. */
const pick = (list: readonly number[], axes: readonly number[]): number[] => axes.map((axis) => list[axis]!);

/** The permutation that undoes another. */
const inverse = (axes: readonly number[]): number[] => axes.map((_, i) => axes.indexOf(i));

const permuteOp = defineOp<{ axes: readonly number[] }>({
  name: 'permute',
  forward: ([x], { axes }) => x!.view(pick(x!.shape, axes), pick(x!.strides, axes), x!.offset),
  backward: ({ grad, attrs: { axes } }) => [permute(grad, inverse(axes))],
  reference: ([x], { axes }) =>
    build(pick(x!.shape, axes), (index) => valueAt(x!, pick(index, inverse(axes)))),
  cases: [caseOf({ axes: [2, 0, 1] }, [3, 5, 7])],
  ...COPIES,
});

/** Reorders dimensions: `axes[i]` is the dimension of `x` that becomes dimension i. A view. */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  checkTensor('permute: x', x);
  if (!Array.isArray(axes)) throw new EliError('SHAPE', `permute: the axes are ${nameOf(axes)}`);
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
  checkTensor('transpose: x', x);
  if (x.rank < 2)
    throw new EliError('SHAPE', `transpose: ${showShape(x.shape)} has fewer than two dimensions`);
  return permute(x, [...x.shape.keys()].slice(0, -2).concat(x.rank - 1, x.rank - 2));
}

const sliceOp = defineOp<{ axis: number; start: number; end: number }>({
  name: 'slice',
  forward: ([x], { axis, start, end }) =>
    x!.view(x!.shape.with(axis, end - start), x!.strides, x!.offset + start * x!.strides[axis]!),
  backward: ({ grad, inputs: [x], attrs: { axis, start, end } }) => [
    pad(grad, axis, start, x!.shape[axis]! - end),
  ],
  reference: ([x], { axis, start, end }) =>
    build(x!.shape.with(axis, end - start), (index) => valueAt(x!, index.with(axis, index[axis]! + start))),
  cases: [caseOf({ axis: 1, start: 2, end: 7 }, [5, 9])],
  ...COPIES,
});

/** Elements `start` (included) to `end` (excluded) along `axis`. A view. */
export function slice(x: Tensor, axis: number, start: number, end: number): Tensor {
  checkTensor('slice: x', x);
  const at = normalizeAxis('slice', axis, x.shape);
  const whole = Number.isInteger(start) && Number.isInteger(end);
  if (!whole || start < 0 || start >= end || end > x.shape[at]!) {
    throw new EliError(
      'SHAPE',
      `slice: ${start} to ${end} is not a range of axis ${at} of ${showShape(x.shape)}`,
    );
  }
  return sliceOp([x], { axis: at, start, end });
}

const padOp = defineOp<{ axis: number; before: number; after: number }>({
  name: 'pad',
  forward: ([x], { axis, before, after }) => {
    const y = zeros(x!.engine, x!.shape.with(axis, before + x!.shape[axis]! + after), x!.dtype);
    copyInto(x!, y, y.strides, before * y.strides[axis]!);
    return y;
  },
  backward: ({ grad, inputs: [x], attrs: { axis, before } }) => [
    slice(grad, axis, before, before + x!.shape[axis]!),
  ],
  reference: ([x], { axis, before, after }) =>
    build(x!.shape.with(axis, before + x!.shape[axis]! + after), (index) => {
      const k = index[axis]! - before;
      return k < 0 || k >= x!.shape[axis]! ? 0 : valueAt(x!, index.with(axis, k));
    }),
  cases: [caseOf({ axis: 0, before: 2, after: 1 }, [3, 4])],
  ...COPIES,
});

/** `x` with `before` and `after` zeros added along `axis`. */
export function pad(x: Tensor, axis: number, before: number, after: number): Tensor {
  checkTensor('pad: x', x);
  return padOp([x], { axis: normalizeAxis('pad', axis, x.shape), before, after });
}

/** The shape of a concatenation along `axis`, and where each tensor starts in it. */
function joined(xs: readonly { readonly shape: Shape }[], axis: number) {
  let length = 0;
  const starts = xs.map((x) => {
    length += x.shape[axis]!;
    return length - x.shape[axis]!;
  });
  return { starts, shape: xs[0]!.shape.with(axis, length) };
}

const concatOp = defineOp<{ axis: number }>({
  name: 'concat',
  forward: (xs, { axis }) => {
    const { starts, shape } = joined(xs, axis);
    const y = empty(xs[0]!.engine, shape, xs[0]!.dtype);
    xs.forEach((x, i) => {
      copyInto(x, y, y.strides, starts[i]! * y.strides[axis]!);
    });
    return y;
  },
  backward: ({ grad, inputs, attrs: { axis } }) => {
    const { starts } = joined(inputs, axis);
    return inputs.map((x, i) => slice(grad, axis, starts[i]!, starts[i]! + x.shape[axis]!));
  },
  reference: (xs, { axis }) => {
    const { starts, shape } = joined(xs, axis);
    return build(shape, (index) => {
      const i = starts.findLastIndex((start) => start <= index[axis]!);
      return valueAt(xs[i]!, index.with(axis, index[axis]! - starts[i]!));
    });
  },
  cases: [
    caseOf({ axis: 1 }, [2, 3], [2, 1], [2, 7]),
    caseOf({ axis: 0 }, [2, 3], { shape: [5, 3], transposed: true }),
  ],
  ...COPIES,
});

/** Joins tensors along `axis`; their other dimensions must agree. */
export function concat(xs: readonly Tensor[], axis: number): Tensor {
  const first = Array.isArray(xs) ? (xs[0] as Tensor | undefined) : undefined;
  if (first === undefined) throw new EliError('ARGUMENT', 'concat: no tensors were given');
  checkTensor('concat: xs[0]', first);
  const at = normalizeAxis('concat', axis, first.shape);
  for (const x of xs) {
    checkTensor('concat: an operand', x);
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
