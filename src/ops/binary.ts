import { setAccumulate } from '../autograd/tape.ts';
import { empty, launch1d } from '../tensor/create.ts';
import { broadcastShapes, sizeOf } from '../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../tensor/tensor.ts';
import { defineOp, EXACT, type OpCase, ROUNDING, type Tolerance } from './core/define.ts';
import { mapBroadcast } from './core/ndarray.ts';
import { broadcastStrides, packOf, stridedParams } from './core/strided.ts';
import { sumTo } from './reduce.ts';
import { affine, log, neg, powScalar, reciprocal } from './unary.ts';

interface Slope {
  readonly alpha: number;
}

type Pair = readonly [(() => Tensor) | undefined, (() => Tensor) | undefined];

/** One elementwise function of two operands: its number in shaders/elementwise/binary.wgsl, and what it means. */
interface Row {
  readonly code: number;
  readonly value: (a: number, b: number, slope: number) => number;
  /** Gradients of a and b in the shape of the output (summed to theirs afterwards). Absent: piecewise constant. */
  readonly backward?: (g: Tensor, a: Tensor, b: Tensor, y: Tensor, slope: number) => Pair;
  readonly range?: readonly [number, number];
  readonly tolerance?: Tolerance;
  readonly note?: string;
  /** Values from a few whole numbers, so that equal operands occur. */
  readonly ties?: boolean;
}

const ROWS = {
  add: { code: 0, value: (a, b) => a + b, backward: (g) => [() => g, () => g] },
  sub: { code: 1, value: (a, b) => a - b, backward: (g) => [() => g, () => neg(g)] },
  mul: { code: 2, value: (a, b) => a * b, backward: (g, a, b) => [() => mul(g, b), () => mul(g, a)] },
  div: {
    code: 3,
    value: (a, b) => a / b,
    backward: (g, _a, b, y) => [() => div(g, b), () => neg(div(mul(g, y), b))],
    range: [0.3, 3],
  },
  powTensor: {
    code: 4,
    value: (a, b) => a ** b,
    backward: (g, a, b, y) => [() => mul(g, mul(b, pow(a, sub(b, 1)))), () => mul(g, mul(y, log(a)))],
    range: [0.3, 3],
    tolerance: { abs: 1e-5, rel: 2e-5 },
    note: 'WGSL computes pow as exp2(y · log2 x)',
  },
  maximum: {
    code: 5,
    value: (a, b) => Math.max(a, b),
    backward: (g, a, b) => [() => mul(g, halves(a, b)), () => mul(g, halves(b, a))],
    tolerance: EXACT,
  },
  minimum: {
    code: 6,
    value: (a, b) => Math.min(a, b),
    backward: (g, a, b) => [() => mul(g, halves(b, a)), () => mul(g, halves(a, b))],
    tolerance: EXACT,
  },
  equal: { code: 7, value: (a, b) => Number(a === b), ties: true, tolerance: EXACT },
  notEqual: { code: 8, value: (a, b) => Number(a !== b), ties: true, tolerance: EXACT },
  less: { code: 9, value: (a, b) => Number(a < b), ties: true, tolerance: EXACT },
  lessEqual: { code: 10, value: (a, b) => Number(a <= b), ties: true, tolerance: EXACT },
  greater: { code: 11, value: (a, b) => Number(a > b), ties: true, tolerance: EXACT },
  greaterEqual: { code: 12, value: (a, b) => Number(a >= b), ties: true, tolerance: EXACT },
  leakyReluBackward: {
    code: 13,
    value: (g, x, slope) => (x > 0 ? g : slope * g),
    backward: (gg, _g, x, _y, slope) => [() => leakyReluBackward(gg, x, slope), undefined],
  },
} satisfies Record<string, Row>;

/** Gradient share of `a` in max(a, b): 1 where it is larger, ½ at a tie (PyTorch's rule), else 0. */
function halves(a: Tensor, b: Tensor): Tensor {
  return affine(add(greater(a, b), greaterEqual(a, b)), 0.5, 0);
}

function binary(name: keyof typeof ROWS): (a: Tensor, b: Tensor, alpha?: number) => Tensor {
  const row: Row = ROWS[name];
  const { backward } = row;
  const range = row.range ?? ([-3, 3] as const);
  const input = (shape: readonly number[]) =>
    row.ties === true
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
    forward: ([a, b], { alpha }) => launchBinary(name, row.code, a!, b!, alpha),
    ...(backward === undefined
      ? {}
      : {
          backward: ({ grad, inputs, output, attrs: { alpha }, needs }) =>
            backward(grad, inputs[0]!, inputs[1]!, output, alpha).map((make, i) =>
              needs[i] === true && make !== undefined ? sumTo(make(), inputs[i]!.shape) : undefined,
            ),
        }),
    reference: (xs, { alpha }) => mapBroadcast(name, xs, (a, b) => row.value(a!, b!, alpha)),
    cases,
    bench,
    half: true,
    tolerance: row.tolerance ?? ROUNDING,
    ...(row.note === undefined ? {} : { toleranceNote: row.note }),
    cost: ([a, b], y) => ({ flops: sizeOf(y), bytes: 4 * (sizeOf(a!) + sizeOf(b!) + sizeOf(y)) }),
  });
  return (a, b, alpha = 0) => apply([a, b], { alpha });
}

function launchBinary(name: string, code: number, a: Tensor, b: Tensor, alpha: number): Tensor {
  const dtype = floatDType(name, a, b);
  const y = empty(a.engine, broadcastShapes(name, a.shape, b.shape), dtype);
  const walk = stridedParams(y.shape, [broadcastStrides(a, y.shape), broadcastStrides(b, y.shape)]);
  const vectors = packOf(walk.dense, y.size, [a.offset, b.offset]) === 4;
  const fours = vectors || (walk.shape.at(-1) ?? 1) % 4 === 0;
  const kernel = vectors ? 'binary_fours' : fours ? 'binary_broadcast_fours' : 'binary';
  const n = fours ? y.size / 4 : y.size;
  launch1d(a.engine, `elementwise/${kernel}.wgsl`, n, {
    storages: [a.storage, b.storage, y.storage],
    overrides: { OP: code, ...(vectors ? {} : { RANK: walk.dense && !fours ? 0 : walk.rank }) },
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

const addRow = binary('add');
const subRow = binary('sub');
const mulRow = binary('mul');
const divRow = binary('div');
const powRow = binary('powTensor');

/** a + b with NumPy broadcasting; `b` may be a number. Like all here: f32 or f16 in, both of one dtype; dense out, of that dtype. */
export function add(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? affine(a, 1, b) : addRow(a, b);
}

export function sub(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? affine(a, 1, -b) : subRow(a, b);
}

export function mul(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? affine(a, b, 0) : mulRow(a, b);
}

/** a / b; a number may stand on either side. Division by a number multiplies by its inverse. */
export function div(a: Tensor | number, b: Tensor | number): Tensor {
  if (typeof a === 'number') return mul(reciprocal(b as Tensor), a);
  return typeof b === 'number' ? affine(a, 1 / b, 0) : divRow(a, b);
}

/** a^b; with a tensor exponent the base must be positive for a gradient. */
export function pow(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? powScalar(a, b) : powRow(a, b);
}

/** Elementwise maximum; at a tie each operand gets half of the gradient. */
export const maximum: (a: Tensor, b: Tensor) => Tensor = binary('maximum');
export const minimum: (a: Tensor, b: Tensor) => Tensor = binary('minimum');
/** 1 where a = b, else 0, in their dtype. Comparisons have no gradient. */
export const equal: (a: Tensor, b: Tensor) => Tensor = binary('equal');
export const notEqual: (a: Tensor, b: Tensor) => Tensor = binary('notEqual');
export const less: (a: Tensor, b: Tensor) => Tensor = binary('less');
export const lessEqual: (a: Tensor, b: Tensor) => Tensor = binary('lessEqual');
export const greater: (a: Tensor, b: Tensor) => Tensor = binary('greater');
export const greaterEqual: (a: Tensor, b: Tensor) => Tensor = binary('greaterEqual');
/** Gradient `g` through a leaky ReLU at `x`: g where x > 0, else slope · g. */
export const leakyReluBackward: (g: Tensor, x: Tensor, slope: number) => Tensor = binary('leakyReluBackward');

setAccumulate(addRow);
