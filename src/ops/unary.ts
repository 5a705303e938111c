import type { Tensor } from '../tensor/tensor.ts';
import { add, affine, div, mul, neg } from './core/arithmetic.ts';
import { binaryOp } from './core/binary-op.ts';
import { EXACT, EXP_LOG, POWER } from './core/define.ts';
import { unaryOp } from './core/unary-op.ts';

export { affine, neg, reciprocal } from './core/arithmetic.ts';

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

/** Gradient `g` through a leaky ReLU at `x`: g where x > 0, else slope · g. */
export const leakyReluBackward: (g: Tensor, x: Tensor, slope: number) => Tensor = binaryOp(
  'leakyReluBackward',
  {
    value: (g, x, slope) => (x > 0 ? g : slope * g),
    backward: (gg, _g, x, _y, slope) => [() => leakyReluBackward(gg, x, slope)],
  },
);

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
  range: [-4, 4],
  tolerance: EXP_LOG,
});
/** Natural logarithm. */
export const log: (x: Tensor) => Tensor = unaryOp('log', {
  value: Math.log,
  backward: (g, x) => div(g, x),
  range: [0.05, 9],
  tolerance: EXP_LOG,
});
/** Square root; NaN where x < 0. */
export const sqrt: (x: Tensor) => Tensor = unaryOp('sqrt', {
  value: Math.sqrt,
  backward: (g, _x, y) => div(mul(g, 0.5), y),
  range: [0.05, 9],
});
/** 1 / (1 + e^−x). */
export const sigmoid: (x: Tensor) => Tensor = unaryOp('sigmoid', {
  value: (x) => 1 / (1 + Math.exp(-x)),
  backward: (g, _x, y) => mul(g, mul(y, affine(y, -1, 1))),
  range: [-6, 6],
  tolerance: EXP_LOG,
});
/** Hyperbolic tangent. */
export const tanh: (x: Tensor) => Tensor = unaryOp('tanh', {
  value: Math.tanh,
  backward: (g, _x, y) => mul(g, affine(mul(y, y), -1, 1)),
  range: [-4, 4],
  // WGSL takes tanh from sinh/cosh with an absolute error of 1e-5.
  tolerance: { abs: 2e-5, rel: 1e-5 },
});
/** max(x, 0); at 0 the gradient is 0. */
export const relu: (x: Tensor) => Tensor = unaryOp('relu', {
  value: (x) => Math.max(x, 0),
  backward: (g, x) => leakyReluBackward(g, x, 0),
  tolerance: EXACT,
});
/** log(1 + e^x). */
export const softplus: (x: Tensor) => Tensor = unaryOp('softplus', {
  value: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  backward: (g, x) => mul(g, sigmoid(x)),
  range: [-6, 6],
  tolerance: EXP_LOG,
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
  tolerance: EXP_LOG,
});
/** Φ(x), the distribution function of the standard normal. */
const normalCdf = (x: Tensor): Tensor => affine(erf(mul(x, Math.SQRT1_2)), 0.5, 0.5);

/** x · Φ(x) with the exact normal distribution function, as PyTorch's default. */
export const gelu: (x: Tensor) => Tensor = unaryOp('gelu', {
  value: (x) => 0.5 * x * (1 + erfReference(x * Math.SQRT1_2)),
  plain: (x) => mul(x, normalCdf(x)),
  backward: (g, x) => {
    const density = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return mul(g, add(normalCdf(x), mul(x, density)));
  },
  range: [-5, 5],
  tolerance: EXP_LOG,
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
  // The shader approximates it with an absolute error of 1.5e-7.
  tolerance: EXP_LOG,
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
});
/** x where positive, else slope · x; at 0 the gradient is `slope`, as in PyTorch. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return leakyReluOp(x, slope);
}

/** Limits every element to [low, high]; the gradient passes inside the bounds, bounds included. */
export const clamp: (x: Tensor, low: number, high: number) => Tensor = unaryOp('clamp', {
  value: (x, low, high) => Math.min(Math.max(x, low), high),
  backward: (g, x, _y, low, high) => mul(g, inside(x, low, high)),
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
/** x to the power of a number; NaN for a negative base and a fractional exponent. */
export const powScalar: (x: Tensor, exponent: number) => Tensor = unaryOp('powScalar', {
  value: (x, exponent) => x ** exponent,
  backward: (g, x, _y, exponent) => mul(g, mul(powScalar(x, exponent - 1), exponent)),
  range: [0.1, 3],
  scalars: [2.5, 0],
  tolerance: POWER,
});
