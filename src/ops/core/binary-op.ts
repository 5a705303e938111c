import { empty, launch1d } from '../../tensor/create.ts';
import { broadcastShapes, sizeOf } from '../../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../../tensor/tensor.ts';
import { defineOp, type OpCase, ROUNDING, type Tolerance } from './define.ts';
import { mapBroadcast } from './ndarray.ts';
import { broadcastStrides, packOf, stridedParams } from './strided.ts';
import { sumTo } from './sum.ts';

/** The elementwise functions of two operands by their numbers in shaders/lib/binary.wgsl. */
export const BINARY_CODES = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  powTensor: 4,
  maximum: 5,
  minimum: 6,
  equal: 7,
  notEqual: 8,
  less: 9,
  lessEqual: 10,
  greater: 11,
  greaterEqual: 12,
  leakyReluBackward: 13,
  reluBackward: 14,
} as const;

interface Slope {
  readonly alpha: number;
}

type Pair = readonly [(() => Tensor) | undefined, (() => Tensor) | undefined];

/** One elementwise function of two operands: what the op of its name in shaders/lib/binary.wgsl means. */
export interface BinaryFunction {
  readonly value: (a: number, b: number, slope: number) => number;
  /** Gradients of a and b in the shape of the output (summed to theirs afterwards). Absent: piecewise constant. */
  readonly backward?: (g: Tensor, a: Tensor, b: Tensor, y: Tensor, slope: number) => Pair;
  readonly range?: readonly [number, number];
  readonly tolerance?: Tolerance;
  readonly toleranceNote?: string;
  /** Values from a few whole numbers, so that equal operands occur. */
  readonly ties?: boolean;
}

/** Defines the op of a function; the result applies it. */
export function binaryOp(
  name: keyof typeof BINARY_CODES,
  { value, backward, range = [-3, 3], ties = false, ...rounding }: BinaryFunction,
): (a: Tensor, b: Tensor, alpha?: number) => Tensor {
  const input = (shape: readonly number[]) =>
    ties
      ? { shape, values: Array.from({ length: sizeOf(shape) }, (_, i) => ((i * 7) % 5) - 2) }
      : { shape, range };
  const attrs = { alpha: 0.2 };
  const bench = [
    [[1 << 20], [1 << 20]],
    [[1024, 1024], [1024]],
  ].map((shapes) => ({ inputs: shapes.map((shape) => ({ shape, range })), attrs }));
  const cases: OpCase<Slope>[] = [
    { inputs: [input([129]), input([129])], attrs },
    { inputs: [input([9, 4]), input([9, 4])], attrs },
    { inputs: [input([7, 1, 5]), input([33, 1])], attrs },
    { inputs: [input([1]), { ...input([3, 7]), transposed: true }], attrs },
    // Last dimension a multiple of 4, with one operand, the other, or both of them repeated or strided along it.
    { inputs: [input([5, 1, 8]), input([3, 1])], attrs },
    { inputs: [{ ...input([9, 12]), transposed: true }, input([12])], attrs },
  ];
  const apply = defineOp<Slope>({
    name,
    tolerance: ROUNDING,
    ...rounding,
    forward: ([a, b], { alpha }) => launchBinary(name, a!, b!, alpha),
    ...(backward && {
      backward: ({ grad, inputs, output, attrs: { alpha }, needs }) =>
        backward(grad, inputs[0]!, inputs[1]!, output, alpha).map((make, i) =>
          needs[i] === true && make !== undefined ? sumTo(make(), inputs[i]!.shape) : undefined,
        ),
    }),
    reference: (xs, { alpha }) => mapBroadcast(name, xs, (a, b) => value(a!, b!, alpha)),
    cases,
    bench,
    half: true,
    cost: ([a, b], y) => ({ flops: sizeOf(y), bytes: 4 * (sizeOf(a!) + sizeOf(b!) + sizeOf(y)) }),
  });
  return (a, b, alpha = 0) => apply([a, b], { alpha });
}

function launchBinary(name: keyof typeof BINARY_CODES, a: Tensor, b: Tensor, alpha: number): Tensor {
  const dtype = floatDType(name, a, b);
  const y = empty(a.engine, broadcastShapes(name, a.shape, b.shape), dtype);
  const walk = stridedParams(y.shape, [broadcastStrides(a, y.shape), broadcastStrides(b, y.shape)]);
  const vectors = packOf(walk.dense, y.size, [a.offset, b.offset]) === 4;
  const fours = vectors || (walk.shape.at(-1) ?? 1) % 4 === 0;
  const kernel = vectors ? 'binary_fours' : fours ? 'binary_broadcast_fours' : 'binary';
  const n = fours ? y.size / 4 : y.size;
  launch1d(a.engine, `elementwise/${kernel}.wgsl`, n, {
    storages: [a.storage, b.storage, y.storage],
    overrides: { OP: BINARY_CODES[name], ...(vectors ? {} : { RANK: walk.dense && !fours ? 0 : walk.rank }) },
    consts: storedAs({ Real: dtype }),
    params: {
      shape: walk.shape,
      stride_a: walk.strides[0]!,
      stride_b: walk.strides[1]!,
      n,
      offset_a: vectors ? a.offset / 4 : a.offset,
      offset_b: vectors ? b.offset / 4 : b.offset,
      alpha,
    },
  });
  return y;
}
