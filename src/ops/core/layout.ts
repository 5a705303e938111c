import { EliError, nameOf } from '../../errors.ts';
import { empty, launch1d } from '../../tensor/create.ts';
import { denseStrides, type Shape, showShape, sizeOf } from '../../tensor/shape.ts';
import { checkTensor, movedAs, type Tensor } from '../../tensor/tensor.ts';
import { COPIES, caseOf, defineOp } from './define.ts';
import { ndarray } from './ndarray.ts';
import { stridedParams } from './strided.ts';

/** Copies `x` (any strides) into the elements of `target` that start at `offset` and have `strides`. */
export function copyInto(x: Tensor, target: Tensor, strides = target.strides, offset = 0): void {
  const { shape, rank, strides: walks } = stridedParams(x.shape, [x.strides, strides]);
  const [from, to] = walks as [number[], number[]];
  const place = target.offset + offset;
  const dense = denseStrides(shape);
  const fours = to.every((stride, d) => stride === dense[d]) && shape.at(-1)! % 4 === 0 && place % 4 === 0;
  const [file, pack] = fours ? ['copy_fours', 4] : ['copy', 1];
  launch1d(x.engine, `elementwise/${file}.wgsl`, x.size / pack, {
    storages: [x.storage, target.storage],
    overrides: { RANK: rank },
    consts: movedAs(x.dtype),
    params: {
      shape,
      stride_x: from,
      n: x.size / pack,
      offset_x: x.offset,
      offset_y: place / pack,
      ...(fours ? {} : { stride_y: to }),
    },
  });
}

const contiguousOp = defineOp<null>({
  name: 'contiguous',
  forward: ([x]) => {
    const y = empty(x!.engine, x!.shape, x!.dtype);
    copyInto(x!, y);
    return y;
  },
  backward: ({ grad }) => [grad],
  reference: ([x]) => x!,
  cases: [caseOf(null, { shape: [7, 33], transposed: true }), caseOf(null, [1])],
  bench: [caseOf(null, { shape: [1024, 1024], transposed: true })],
  ...COPIES,
  cost: ([x]) => ({ flops: 0, bytes: 8 * sizeOf(x!) }),
});

/** `x` itself when it is dense, else a dense copy. */
export function contiguous(x: Tensor): Tensor {
  checkTensor('contiguous: x', x);
  return x.isContiguous ? x : contiguousOp([x], null);
}

/** `x` itself when it is dense and at the start of its buffer, else a dense copy, for kernels that take no offset. */
export function compact(x: Tensor): Tensor {
  return x.isContiguous && x.offset === 0 ? x : contiguousOp([x], null);
}

const reshapeOp = defineOp<{ shape: Shape }>({
  name: 'reshape',
  dense: true,
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
  cases: [caseOf({ shape: [3, 14] }, [6, 7])],
  ...COPIES,
});

/** The elements in another shape; a view when `x` is dense. One dimension may be -1, which is inferred. */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor('reshape: x', x);
  if (!Array.isArray(shape)) throw new EliError('SHAPE', `reshape: the shape is ${nameOf(shape)}`);
  const known = shape.reduce((product, n) => (n === -1 ? product : product * n), 1);
  return reshapeOp([contiguous(x)], { shape: shape.map((n) => (n === -1 ? x.size / known : n)) });
}
