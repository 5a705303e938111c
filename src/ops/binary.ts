import type { Tensor } from '../tensor/tensor.ts';
import { add, affine, mul, sub } from './core/arithmetic.ts';
import { binaryOp } from './core/binary-op.ts';
import { EXACT, POWER } from './core/define.ts';
import { log, powScalar } from './unary.ts';

export { add, div, mul, sub } from './core/arithmetic.ts';

/** Gradient share of `a` in max(a, b): 1 where it is larger, ½ at a tie (PyTorch's rule), else 0. */
function halves(a: Tensor, b: Tensor): Tensor {
  return affine(add(greater(a, b), greaterEqual(a, b)), 0.5, 0);
}

const powOp = binaryOp('powTensor', {
  value: (a, b) => a ** b,
  backward: (g, a, b, y) => [() => mul(g, mul(b, pow(a, sub(b, 1)))), () => mul(g, mul(y, log(a)))],
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
  backward: (g, a, b) => [() => mul(g, halves(a, b)), () => mul(g, halves(b, a))],
  tolerance: EXACT,
});
/** Elementwise minimum; at a tie each operand gets half of the gradient. */
export const minimum: (a: Tensor, b: Tensor) => Tensor = binaryOp('minimum', {
  value: (a, b) => Math.min(a, b),
  backward: (g, a, b) => [() => mul(g, halves(b, a)), () => mul(g, halves(a, b))],
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
