import { zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { add, affine, div, mul, neg } from './core/arithmetic.ts';
import { binaryOp } from './core/binary-op.ts';
import { EXACT } from './core/define.ts';
import { unaryOp } from './core/unary-op.ts';
import { where } from './where.ts';

export { affine, neg, reciprocal } from './core/arithmetic.ts';

/** Results of a few steps whose f32 rounding grows with the argument; those below the smallest normal number may be 0. */
const FEW_ULP = { abs: 2e-38, rel: 1e-6 };

/** Products of which one factor may be below the smallest normal number, and then 0. */
const WITH_SMALL_FACTOR = { abs: 1.1e-36, rel: 1e-6 };

/** 1 − erf(a) for a ≥ 0 within 1e-12 of its size: by the series of erf for small a, else by a continued fraction. */
function erfcReference(a: number): number {
  if (a < 2.5) return 1 - erfReference(a);
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = n / 2 / (a + fraction);
  return Math.exp(-a * a) / (Math.sqrt(Math.PI) * (a + fraction));
}

function erfReference(x: number): number {
  const a = Math.abs(x);
  if (x === 0) return x;
  if (a >= 2.5) return Math.sign(x) * (1 - erfcReference(a));
  let term = x;
  let sum = x;
  for (let n = 1; n < 60; n++) {
    term *= (-a * a) / n;
    sum += term / (2 * n + 1);
  }
  return sum * (2 / Math.sqrt(Math.PI));
}

const SQRT_HALF = Math.SQRT1_2;

/** Gradient `g` through a leaky ReLU at `x`: g where x > 0, else slope · g. */
export const leakyReluBackward: (g: Tensor, x: Tensor, slope: number) => Tensor = binaryOp(
  'leakyReluBackward',
  {
    value: (g, x, slope) => (x > 0 ? g : slope * g),
    backward: (gg, _g, x, _y, slope) => [() => leakyReluBackward(gg, x, slope), undefined],
  },
);

/** Gradient `g` through a ReLU at `x`: 0 where x ≤ 0, else g; so 0 for an infinite g as well, as in PyTorch. */
const reluBackward: (g: Tensor, x: Tensor) => Tensor = binaryOp('reluBackward', {
  value: (g, x) => (x <= 0 ? 0 : g),
  backward: (gg, _g, x) => [() => reluBackward(gg, x), undefined],
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
  tolerance: WITH_SMALL_FACTOR,
});
const normalCdfReference = (x: number): number =>
  x < 0 ? 0.5 * erfcReference(-x * SQRT_HALF) : 0.5 + 0.5 * erfReference(x * SQRT_HALF);
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
  tolerance: WITH_SMALL_FACTOR,
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
  value: (x, { alpha }) => (x > 0 ? x : alpha * x),
  backward: (g, x, _y, { alpha }) => leakyReluBackward(g, x, alpha),
  scalars: { alpha: 0.2, beta: 0 },
});
/** x where positive, else slope · x; at 0 the gradient is `slope`, as in PyTorch. */
export function leakyRelu(x: Tensor, slope = 0.01): Tensor {
  return leakyReluOp(x, { alpha: slope, beta: 0 });
}

const clampOp = unaryOp('clamp', {
  value: (x, { alpha, beta }) => Math.min(Math.max(x, alpha), beta),
  backward: (g, x, _y, { alpha, beta }) => where(inside(x, alpha, beta), g, zeros(g.engine, [1], g.dtype)),
  scalars: { alpha: -1.1, beta: 1.3 },
  // The bounds are rounded to f32.
  tolerance: { abs: 1e-7, rel: 1e-7 },
});
/** Limits every element to [low, high]; the gradient passes inside the bounds, bounds included. */
export function clamp(x: Tensor, low: number, high: number): Tensor {
  return clampOp(x, { alpha: low, beta: high });
}

const insideOp = unaryOp('inside', {
  value: (x, { alpha, beta }) => (x >= alpha && x <= beta ? 1 : 0),
  scalars: { alpha: -1, beta: 2 },
  tolerance: EXACT,
});
/** 1 where low ≤ x ≤ high, else 0. No gradient. */
export function inside(x: Tensor, low: number, high: number): Tensor {
  return insideOp(x, { alpha: low, beta: high });
}

/** The error of y · log x, up to 89, is one of its exponential. */
export const POWER = { tolerance: { abs: 2e-38, rel: 3e-5 }, toleranceNote: 'computed as exp(y · log x)' };

/** x ** y, but for what JavaScript leaves undefined and C's pow does not (IEEE 754-2019, 9.2.1). */
export function powReference(x: number, y: number): number {
  return x === 1 || (x === -1 && Math.abs(y) === Number.POSITIVE_INFINITY) ? 1 : x ** y;
}

const powOp = unaryOp('powScalar', {
  value: (x, { alpha }) => powReference(x, alpha),
  backward: (g, x, _y, { alpha }) =>
    alpha === 0 ? zeros(x.engine, x.shape, g.dtype) : mul(g, mul(powScalar(x, alpha - 1), alpha)),
  range: [0.1, 3],
  scalars: { alpha: 2.5, beta: 0 },
  ...POWER,
});
/** x to the power of a number; NaN for a negative base and a fractional exponent. */
export function powScalar(x: Tensor, exponent: number): Tensor {
  return powOp(x, { alpha: exponent, beta: 0 });
}
