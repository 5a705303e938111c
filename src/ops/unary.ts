import { zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, affine, div, mul, neg } from './core/arithmetic.ts';
import { binaryOp } from './core/binary-op.ts';
import { EXACT, FEW_ULP, POWER } from './core/define.ts';
import { unaryOp } from './core/unary-op.ts';
import { where } from './where.ts';

export { affine, neg, reciprocal } from './core/arithmetic.ts';

/** Products of which one factor may be below the smallest normal number, and then 0. */
const SMALL_FACTOR = { abs: 1.1e-36, rel: 1e-6 };

/** 1 − erf(a) for a ≥ 0, with a relative error below 1e-12: from erf for small a, else by a continued fraction. */
function erfcReference(a: number): number {
  if (a < 2.5) return 1 - erfReference(a);
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction));
}

/** erf by its Taylor series for small x. */
function erfReference(x: number): number {
  if (x === 0) return x;
  const a = Math.abs(x);
  if (a >= 2.5) return Math.sign(x) * (1 - erfcReference(a));
  let term = x;
  let sum = x;
  for (let n = 1; n < 60; n++) {
    term *= (-a * a) / n;
    sum += term / (2 * n + 1);
  }
  return sum * (2 / Math.sqrt(Math.PI));
}

const normalCdfReference = (x: number): number =>
  x < 0 ? 0.5 * erfcReference(-x * Math.SQRT1_2) : 0.5 + 0.5 * erfReference(x * Math.SQRT1_2);

/** Gradient `g` through a leaky ReLU at `x`: g where x > 0, else slope · g. */
export const leakyReluBackward: (g: Tensor, x: Tensor, slope: number) => Tensor = binaryOp(
  'leakyReluBackward',
  {
    value: (g, x, slope) => (x > 0 ? g : slope * g),
    backward: (gg, _g, x, _y, slope) => [() => leakyReluBackward(gg, x, slope)],
  },
);

/** Gradient `g` through a ReLU at `x`: 0 where x ≤ 0, even if g is infinite, else g. */
const reluBackward: (g: Tensor, x: Tensor) => Tensor = binaryOp('reluBackward', {
  value: (g, x) => (x <= 0 ? 0 : g),
  backward: (gg, _g, x) => [() => reluBackward(gg, x)],
  tolerance: EXACT,
});

/** |x|; at 0 the gradient is 0. */
export const abs: (x: Tensor) => Tensor = unaryOp('abs', {
  value: Math.abs,
  backward: (g, x) => mul(g, sign(x)),
  tolerance: EXACT,
});
/** e^x. */
export const exp: (x: Tensor) => Tensor = unaryOp('exp', {
  value: Math.exp,
  backward: (g, _x, y) => mul(g, y),
  tolerance: FEW_ULP,
});
/** Natural logarithm. */
export const log: (x: Tensor) => Tensor = unaryOp('log', {
  value: Math.log,
  backward: (g, x) => div(g, x),
  range: [0.05, 9],
  tolerance: { abs: 0, rel: 3e-7 },
});
/** Square root; NaN where x < 0. */
export const sqrt: (x: Tensor) => Tensor = unaryOp('sqrt', {
  value: Math.sqrt,
  backward: (g, _x, y) => div(mul(g, 0.5), y),
  range: [0.05, 9],
  tolerance: FEW_ULP,
});
/** 1 / (1 + e^−x). */
export const sigmoid: (x: Tensor) => Tensor = unaryOp('sigmoid', {
  value: (x) => 1 / (1 + Math.exp(-x)),
  backward: (g, _x, y) => mul(g, mul(y, affine(y, -1, 1))),
  range: [-6, 6],
  tolerance: FEW_ULP,
});
/** Hyperbolic tangent. */
export const tanh: (x: Tensor) => Tensor = unaryOp('tanh', {
  value: Math.tanh,
  backward: (g, _x, y) => mul(g, affine(mul(y, y), -1, 1)),
  range: [-4, 4],
  tolerance: { abs: 2e-38, rel: 3e-7 },
});
/** max(x, 0); at 0 the gradient is 0. */
export const relu: (x: Tensor) => Tensor = unaryOp('relu', {
  value: (x) => Math.max(x, 0),
  backward: (g, x) => reluBackward(g, x),
  tolerance: EXACT,
});
/** log(1 + e^x). */
export const softplus: (x: Tensor) => Tensor = unaryOp('softplus', {
  value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  backward: (g, x) => mul(g, sigmoid(x)),
  range: [-6, 6],
  tolerance: FEW_ULP,
});
/** x · sigmoid(x). */
export const silu: (x: Tensor) => Tensor = unaryOp('silu', {
  value: (x) => x / (1 + Math.exp(-x)),
  plain: (x) => mul(x, sigmoid(x)),
  backward: (g, x) => {
    const s = sigmoid(x);
    return mul(g, mul(s, affine(mul(x, affine(s, -1, 1)), 1, 1)));
  },
  range: [-6, 6],
  tolerance: SMALL_FACTOR,
});
const normalDensity = (x: Tensor): Tensor => mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));

/** Φ(x), the distribution function of the standard normal. */
export const normalCdf: (x: Tensor) => Tensor = unaryOp('normalCdf', {
  value: normalCdfReference,
  backward: (g, x) => mul(g, normalDensity(x)),
  tolerance: FEW_ULP,
});
/** x · Φ(x) with the exact normal distribution function, as PyTorch's default. */
export const gelu: (x: Tensor) => Tensor = unaryOp('gelu', {
  value: (x) => x * normalCdfReference(x),
  plain: (x) => mul(x, normalCdf(x)),
  backward: (g, x) => mul(g, add(normalCdf(x), mul(x, normalDensity(x)))),
  range: [-5, 5],
  tolerance: SMALL_FACTOR,
});
/** −1, 0 or 1. No gradient. */
export const sign: (x: Tensor) => Tensor = unaryOp('sign', {
  value: Math.sign,
  tolerance: EXACT,
});
/** Error function. */
export const erf: (x: Tensor) => Tensor = unaryOp('erf', {
  value: erfReference,
  backward: (g, x) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
  tolerance: { abs: 2e-38, rel: 3e-7 },
});
/** A copy on the tape. */
export const identity: (x: Tensor) => Tensor = unaryOp('identity', {
  value: (x) => x,
  backward: (g) => g,
  tolerance: EXACT,
});

const leakyReluOp = unaryOp('leakyRelu', {
  value: (x, slope) => (x > 0 ? x : slope * x),
  backward: (g, x, _y, slope) => leakyReluBackward(g, x, slope),
  scalars: [0.2, 0],
  tolerance: FEW_ULP,
});
/** x where positive, else slope · x; at 0 the gradient is `slope`, as in PyTorch. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return leakyReluOp(x, slope);
}

/** Limits every element to [low, high]; the gradient passes inside the bounds, bounds included. */
export const clamp: (x: Tensor, low: number, high: number) => Tensor = unaryOp('clamp', {
  value: (x, low, high) => Math.min(Math.max(x, low), high),
  backward: (g, x, _y, low, high) => where(inside(x, low, high), g, zeros(g.engine, [1], g.dtype)),
  scalars: [-1.1, 1.3],
  // The bounds are rounded to f32.
  tolerance: { abs: 1e-7, rel: 1e-7 },
});
/** 1 where low ≤ x ≤ high, else 0. No gradient. */
export const inside: (x: Tensor, low: number, high: number) => Tensor = unaryOp('inside', {
  value: (x, low, high) => (x >= low && x <= high ? 1 : 0),
  scalars: [-1, 2],
  tolerance: EXACT,
});
/** x ** y, except where JavaScript gives NaN and C's pow 1 (IEEE 754-2019, section 9.2.1). */
export function powReference(x: number, y: number): number {
  return x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y;
}

/** x to the power of a number; NaN for a negative base and a fractional exponent. */
export const powScalar: (x: Tensor, exponent: number) => Tensor = unaryOp('powScalar', {
  value: powReference,
  backward: (g, x, _y, exponent) =>
    exponent === 0 ? zeros(g.engine, g.shape, g.dtype) : mul(g, mul(powScalar(x, exponent - 1), exponent)),
  range: [0.1, 3],
  scalars: [2.5, 0],
  tolerance: POWER,
});
