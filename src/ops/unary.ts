import { empty, launch1d } from '../tensor/create.ts';
import { sizeOf } from '../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../tensor/tensor.ts';
import { add, div, leakyReluBackward, mul } from './binary.ts';
import { type CaseInput, defineOp, EXACT, ROUNDING, type Tolerance } from './core/define.ts';
import { ndarray } from './core/ndarray.ts';
import { packOf, stridedParams } from './core/strided.ts';

interface Scalars {
  readonly alpha: number;
  readonly beta: number;
}

/** One elementwise function: a number of the `switch` in shaders/elementwise/unary.wgsl, and what it means. */
interface Row {
  readonly code: number;
  readonly value: (x: number, scalars: Scalars) => number;
  /** Gradient of the input. `x` is the input, `y` the output. Absent: piecewise constant. */
  readonly backward?: (g: Tensor, x: Tensor, y: Tensor, scalars: Scalars) => Tensor;
  /** Where test inputs lie; also how `value` is meant to be used. */
  readonly range: readonly [number, number];
  readonly scalars?: Scalars;
  readonly tolerance?: Tolerance;
  readonly note?: string;
}

const LOG_NOTE = 'WGSL allows log an absolute error of 2^-21 near 1, and exp 3 + 2|x| ulp';
const LOOSE: Tolerance = { abs: 3e-6, rel: 1e-5 };

/** erf by its Taylor series: error below 1e-9 (cancellation grows with x; beyond 4.5 erf is 1 within 2e-10). */
function erfReference(x: number): number {
  const a = Math.abs(x);
  if (a > 4.5) return Math.sign(x);
  let term = a;
  let sum = a;
  for (let n = 1; n < 200; n++) {
    term *= (-a * a) / n;
    sum += term / (2 * n + 1);
  }
  return Math.sign(x) * sum * (2 / Math.sqrt(Math.PI));
}

const SQRT_HALF = Math.SQRT1_2;
const ROWS = {
  identity: { code: 0, value: (x) => x, backward: (g) => g, range: [-3, 3], tolerance: EXACT },
  neg: { code: 1, value: (x) => -x, backward: (g) => neg(g), range: [-3, 3], tolerance: EXACT },
  abs: { code: 2, value: Math.abs, backward: (g, x) => mul(g, sign(x)), range: [-3, 3], tolerance: EXACT },
  exp: {
    code: 3,
    value: Math.exp,
    backward: (g, _x, y) => mul(g, y),
    range: [-4, 4],
    tolerance: LOOSE,
    note: LOG_NOTE,
  },
  log: {
    code: 4,
    value: Math.log,
    backward: (g, x) => div(g, x),
    range: [0.05, 9],
    tolerance: LOOSE,
    note: LOG_NOTE,
  },
  sqrt: { code: 5, value: Math.sqrt, backward: (g, _x, y) => div(mul(g, 0.5), y), range: [0.05, 9] },
  sigmoid: {
    code: 6,
    value: (x) => 1 / (1 + Math.exp(-x)),
    backward: (g, _x, y) => mul(g, mul(y, affine(y, -1, 1))),
    range: [-6, 6],
    tolerance: LOOSE,
    note: LOG_NOTE,
  },
  tanh: {
    code: 7,
    value: Math.tanh,
    backward: (g, _x, y) => mul(g, affine(mul(y, y), -1, 1)),
    range: [-4, 4],
    tolerance: { abs: 2e-5, rel: 1e-5 },
    note: 'WGSL takes tanh from sinh/cosh with an absolute error of 1e-5',
  },
  relu: {
    code: 8,
    value: (x) => Math.max(x, 0),
    backward: (g, x) => leakyReluBackward(g, x, 0),
    range: [-3, 3],
    tolerance: EXACT,
  },
  leakyRelu: {
    code: 9,
    value: (x, { alpha }) => (x > 0 ? x : alpha * x),
    backward: (g, x, _y, { alpha }) => leakyReluBackward(g, x, alpha),
    range: [-3, 3],
    scalars: { alpha: 0.2, beta: 0 },
  },
  softplus: {
    code: 10,
    value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
    backward: (g, x) => mul(g, sigmoid(x)),
    range: [-6, 6],
    tolerance: LOOSE,
    note: LOG_NOTE,
  },
  silu: {
    code: 11,
    value: (x) => x / (1 + Math.exp(-x)),
    backward: (g, x) => {
      const s = sigmoid(x);
      return mul(g, mul(s, affine(mul(x, affine(s, -1, 1)), 1, 1)));
    },
    range: [-6, 6],
    tolerance: LOOSE,
    note: LOG_NOTE,
  },
  gelu: {
    code: 12,
    value: (x) => 0.5 * x * (1 + erfReference(x * SQRT_HALF)),
    backward: (g, x) => {
      const cdf = affine(erf(mul(x, SQRT_HALF)), 0.5, 0.5);
      const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
      return mul(g, add(cdf, mul(x, density)));
    },
    range: [-5, 5],
    tolerance: LOOSE,
    note: 'erf is an approximation with an absolute error of 1.5e-7',
  },
  clamp: {
    code: 13,
    value: (x, { alpha, beta }) => Math.min(Math.max(x, alpha), beta),
    backward: (g, x, _y, { alpha, beta }) => mul(g, inside(x, alpha, beta)),
    range: [-3, 3],
    scalars: { alpha: -1.1, beta: 1.3 },
    // The bounds are rounded to f32.
    tolerance: { abs: 1e-7, rel: 1e-7 },
  },
  sign: { code: 14, value: Math.sign, range: [-3, 3], tolerance: EXACT },
  inside: {
    code: 15,
    value: (x, { alpha, beta }) => (x >= alpha && x <= beta ? 1 : 0),
    range: [-3, 3],
    scalars: { alpha: -1, beta: 2 },
    tolerance: EXACT,
  },
  affine: {
    code: 16,
    value: (x, { alpha, beta }) => alpha * x + beta,
    backward: (g, _x, _y, { alpha }) => mul(g, alpha),
    range: [-3, 3],
    scalars: { alpha: -1.7, beta: 0.3 },
  },
  powScalar: {
    code: 17,
    value: (x, { alpha }) => x ** alpha,
    backward: (g, x, _y, { alpha }) => mul(g, mul(powScalar(x, alpha - 1), alpha)),
    range: [0.1, 3],
    scalars: { alpha: 2.5, beta: 0 },
    tolerance: { abs: 1e-5, rel: 2e-5 },
    note: 'WGSL computes pow as exp2(y · log2 x)',
  },
  erf: {
    code: 18,
    value: erfReference,
    backward: (g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
    range: [-3, 3],
    tolerance: LOOSE,
    note: 'an approximation with an absolute error of 1.5e-7',
  },
  reciprocal: {
    code: 19,
    value: (x) => 1 / x,
    backward: (g, _x, y) => neg(mul(g, mul(y, y))),
    range: [0.2, 4],
  },
} satisfies Record<string, Row>;

const NO_SCALARS: Scalars = { alpha: 0, beta: 0 };

function unary(name: keyof typeof ROWS): (x: Tensor, scalars?: Scalars) => Tensor {
  const row: Row = ROWS[name];
  const { backward, range } = row;
  const inputs = (input: CaseInput) => ({ inputs: [{ range, ...input }], attrs: row.scalars ?? NO_SCALARS });
  const apply = defineOp<Scalars>({
    name,
    forward: ([x], { alpha, beta }) => launchUnary(name, row.code, x!, alpha, beta),
    ...(backward === undefined
      ? {}
      : { backward: ({ grad, inputs: [x], output, attrs }) => [backward(grad, x!, output, attrs)] }),
    reference: ([x], scalars) =>
      ndarray(
        x!.shape,
        x!.data.map((v) => row.value(v, scalars)),
      ),
    cases: [
      inputs({ shape: [129] }),
      inputs({ shape: [9, 4] }),
      inputs({ shape: [3, 1, 7], transposed: true }),
    ],
    bench: [inputs({ shape: [1 << 20] })],
    half: true,
    tolerance: row.tolerance ?? ROUNDING,
    ...(row.note === undefined ? {} : { toleranceNote: row.note }),
    cost: ([shape]) => ({ flops: sizeOf(shape!), bytes: 8 * sizeOf(shape!) }),
  });
  return (x, scalars = NO_SCALARS) => apply([x], scalars);
}

function launchUnary(name: string, code: number, x: Tensor, alpha: number, beta: number): Tensor {
  const dtype = floatDType(name, x);
  const y = empty(x.engine, x.shape, dtype);
  const walk = stridedParams(x.shape, [x.strides]);
  const pack = packOf(walk.dense, x.size, [x.offset]);
  launch1d(x.engine, pack === 4 ? 'elementwise/unary_fours.wgsl' : 'elementwise/unary.wgsl', x.size / pack, {
    storages: [x.storage, y.storage],
    overrides: { OP: code, ...(pack === 4 ? {} : { RANK: walk.dense ? 0 : walk.rank }) },
    consts: storedAs({ Real: dtype }),
    params: {
      shape: walk.shape,
      stride: walk.strides[0]!,
      n: x.size / pack,
      offset: x.offset / pack,
      alpha,
      beta,
    },
  });
  return y;
}

/** −x, elementwise; like all functions here: f32 or f16 of any shape and strides in, dense tensor of that shape and dtype out. */
export const neg: (x: Tensor) => Tensor = unary('neg');
export const abs: (x: Tensor) => Tensor = unary('abs');
export const exp: (x: Tensor) => Tensor = unary('exp');
/** Natural logarithm. */
export const log: (x: Tensor) => Tensor = unary('log');
export const sqrt: (x: Tensor) => Tensor = unary('sqrt');
export const sigmoid: (x: Tensor) => Tensor = unary('sigmoid');
export const tanh: (x: Tensor) => Tensor = unary('tanh');
export const relu: (x: Tensor) => Tensor = unary('relu');
/** log(1 + e^x). */
export const softplus: (x: Tensor) => Tensor = unary('softplus');
/** x · sigmoid(x). */
export const silu: (x: Tensor) => Tensor = unary('silu');
/** x · Φ(x) with the exact normal distribution function, as PyTorch's default. */
export const gelu: (x: Tensor) => Tensor = unary('gelu');
/** −1, 0 or 1. No gradient. */
export const sign: (x: Tensor) => Tensor = unary('sign');
export const erf: (x: Tensor) => Tensor = unary('erf');
export const reciprocal: (x: Tensor) => Tensor = unary('reciprocal');
/** A copy on the tape. */
export const identity: (x: Tensor) => Tensor = unary('identity');

const leakyReluRow = unary('leakyRelu');
/** x where positive, else slope · x; at 0 the gradient is `slope`, as in PyTorch. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return leakyReluRow(x, { alpha: slope, beta: 0 });
}

const clampRow = unary('clamp');
/** Limits every element to [low, high]; the gradient passes inside the bounds, bounds included. */
export function clamp(x: Tensor, low: number, high: number): Tensor {
  return clampRow(x, { alpha: low, beta: high });
}

const insideRow = unary('inside');
/** 1 where low ≤ x ≤ high, else 0. No gradient. */
export function inside(x: Tensor, low: number, high: number): Tensor {
  return insideRow(x, { alpha: low, beta: high });
}

const affineRow = unary('affine');
/** scale · x + shift with two numbers. */
export function affine(x: Tensor, scale: number, shift: number): Tensor {
  return affineRow(x, { alpha: scale, beta: shift });
}

const powRow = unary('powScalar');
/** x to the power of a number; NaN for a negative base and a fractional exponent. */
export function powScalar(x: Tensor, exponent: number): Tensor {
  return powRow(x, { alpha: exponent, beta: 0 });
}
