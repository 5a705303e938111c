import { full } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { mul, sub } from './core/arithmetic.ts';
import { binaryOp } from './core/binary-op.ts';
import { EXACT, POWER } from './core/define.ts';
import { log, powReference, powScalar } from './unary.ts';
import { where } from './where.ts';

export { add, div, mul, sub } from './core/arithmetic.ts';

const number = (like: Tensor, value: number): Tensor => full(like.engine, [1], value, like.dtype);

/** Gradient `g` of max(a, b) or min(a, b) for one of them: 0 where it `loses`, half of it at a tie, as in PyTorch. */
function shared(g: Tensor, a: Tensor, b: Tensor, loses: Tensor): Tensor {
  return where(loses, number(g, 0), where(equal(a, b), mul(g, 0.5), g));
}

const powOp = binaryOp('powTensor', {
  value: powReference,
  // Both are 0 where the formula has 0 · ∞, as in PyTorch.
  backward: (g, a, b, y) => [
    () => where(equal(b, number(b, 0)), number(g, 0), mul(g, mul(b, pow(a, sub(b, 1))))),
    () => {
      const atZero = mul(equal(a, number(a, 0)), greaterEqual(b, number(b, 0)));
      return where(atZero, number(g, 0), mul(g, mul(y, log(a))));
    },
  ],
  range: [0.3, 3],
  tolerance: POWER,
});

/** a^b; with a tensor exponent the base must be positive for a gradient. */
export function pow(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? powScalar(a, b) : powOp(a, b);
}

/** Elementwise maximum; at a tie each operand gets half of the gradient. */
export const maximum: (a: Tensor, b: Tensor) => Tensor = binaryOp('maximum', {
  value: (a, b) => Math.max(a, b),
  backward: (g, a, b) => [() => shared(g, a, b, less(a, b)), () => shared(g, a, b, greater(a, b))],
  tolerance: EXACT,
});
/** Elementwise minimum; at a tie each operand gets half of the gradient. */
export const minimum: (a: Tensor, b: Tensor) => Tensor = binaryOp('minimum', {
  value: (a, b) => Math.min(a, b),
  backward: (g, a, b) => [() => shared(g, a, b, greater(a, b)), () => shared(g, a, b, less(a, b))],
  tolerance: EXACT,
});

const comparison = (
  name: Parameters<typeof binaryOp>[0],
  holds: (a: number, b: number) => boolean,
): ((a: Tensor, b: Tensor) => Tensor) =>
  binaryOp(name, { value: (a, b) => Number(holds(a, b)), ties: true, tolerance: EXACT });

/** 1 where a = b, else 0, in their dtype. Comparisons have no gradient. */
export const equal: (a: Tensor, b: Tensor) => Tensor = comparison('equal', (a, b) => a === b);
/** 1 where a ≠ b, else 0. */
export const notEqual: (a: Tensor, b: Tensor) => Tensor = comparison('notEqual', (a, b) => a !== b);
/** 1 where a < b, else 0. */
export const less: (a: Tensor, b: Tensor) => Tensor = comparison('less', (a, b) => a < b);
/** 1 where a ≤ b, else 0. */
export const lessEqual: (a: Tensor, b: Tensor) => Tensor = comparison('lessEqual', (a, b) => a <= b);
/** 1 where a > b, else 0. */
export const greater: (a: Tensor, b: Tensor) => Tensor = comparison('greater', (a, b) => a > b);
/** 1 where a ≥ b, else 0. */
export const greaterEqual: (a: Tensor, b: Tensor) => Tensor = comparison('greaterEqual', (a, b) => a >= b);
