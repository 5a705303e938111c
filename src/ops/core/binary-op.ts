import { empty, launch1d } from '../../tensor/create.ts';
import { broadcastShapes, sizeOf } from '../../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../../tensor/tensor.ts';
import { caseOf, defineOp, ROUNDING, type Tolerance } from './define.ts';
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

/** One elementwise function of two operands: what the op of its name in shaders/lib/binary.wgsl means. */
interface BinaryFunction {
  readonly value: (a: number, b: number, slope: number) => number;
  /** Gradients of a and, if there is one, of b, in the shape of the output. Absent: piecewise constant. */
  readonly backward?: (g: Tensor, a: Tensor, b: Tensor, y: Tensor, slope: number) => (() => Tensor)[];
  /** Range of the test inputs, within the domain of the function. Default: −3 to 3. */
  readonly range?: readonly [number, number];
  /** Test inputs are a few whole numbers, so that equal operands occur. */
  readonly ties?: boolean;
  readonly tolerance?: Tolerance;
}

/** Defines the op of a function; the result applies it. */
export function binaryOp(
  name: keyof typeof BINARY_CODES,
  { value, backward, range = [-3, 3], ties = false, tolerance = ROUNDING }: BinaryFunction,
): (a: Tensor, b: Tensor, alpha?: number) => Tensor {
  const input = (shape: readonly number[]) =>
    ties
      ? { shape, values: Array.from({ length: sizeOf(shape) }, (_, i) => ((i * 7) % 5) - 2) }
      : { shape, range };
  const attrs = { alpha: 0.2 };
  const apply = defineOp<{ readonly alpha: number }>({
    name,
    forward: ([a, b], { alpha }) => launchBinary(name, a!, b!, alpha),
    ...(backward && {
      backward: ({ grad, inputs, output, attrs: { alpha }, needs }) =>
        backward(grad, inputs[0]!, inputs[1]!, output, alpha).map((make, i) =>
          needs[i] === true ? sumTo(make(), inputs[i]!.shape) : undefined,
        ),
    }),
    reference: (xs, { alpha }) => mapBroadcast(name, xs, (a, b) => value(a!, b!, alpha)),
    cases: [
      caseOf(attrs, input([129]), input([129])),
      caseOf(attrs, input([9, 4]), input([9, 4])),
      caseOf(attrs, input([7, 1, 5]), input([33, 1])),
      caseOf(attrs, input([1]), { ...input([3, 7]), transposed: true }),
      // Last dimension a multiple of 4, with one operand, the other, or both of them repeated or strided along it.
      caseOf(attrs, input([5, 1, 8]), input([3, 1])),
      caseOf(attrs, { ...input([9, 12]), transposed: true }, input([12])),
    ],
    bench: [
      caseOf(attrs, { shape: [1 << 20], range }, { shape: [1 << 20], range }),
      caseOf(attrs, { shape: [1024, 1024], range }, { shape: [1024], range }),
    ],
    half: true,
    tolerance,
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
