import { setAccumulate } from '../../autograd/tape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { binaryOp } from './binary-op.ts';
import { EXACT, FEW_ULP } from './define.ts';
import { unaryOp } from './unary-op.ts';

/** −x, elementwise; like all functions here: f32 or f16 of any shape and strides in, dense tensor of that shape and dtype out. */
export const neg: (x: Tensor) => Tensor = unaryOp('neg', {
  value: (x) => -x,
  backward: (g) => neg(g),
  tolerance: EXACT,
});

/** scale · x + shift with two numbers. */
export const affine: (x: Tensor, scale: number, shift: number) => Tensor = unaryOp('affine', {
  value: (x, scale, shift) => scale * x + shift,
  backward: (g, _x, _y, scale) => mul(g, scale),
  scalars: [-1.7, 0.3],
});

/** 1 / x. */
export const reciprocal: (x: Tensor) => Tensor = unaryOp('reciprocal', {
  value: (x) => 1 / x,
  backward: (g, _x, y) => neg(mul(g, mul(y, y))),
  range: [0.2, 4],
  tolerance: FEW_ULP,
});

const addOp = binaryOp('add', { value: (a, b) => a + b, backward: (g) => [() => g, () => g] });
const subOp = binaryOp('sub', { value: (a, b) => a - b, backward: (g) => [() => g, () => neg(g)] });
const mulOp = binaryOp('mul', {
  value: (a, b) => a * b,
  backward: (g, a, b) => [() => mul(g, b), () => mul(g, a)],
});
const divOp = binaryOp('div', {
  value: (a, b) => a / b,
  backward: (g, _a, b, y) => [() => div(g, b), () => neg(div(mul(g, y), b))],
  range: [0.3, 3],
});

/** a + b with NumPy broadcasting; `b` may be a number. Like all here: f32 or f16 in, both of one dtype; dense out, of that dtype. */
export function add(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? affine(a, 1, b) : addOp(a, b);
}

/** a − b, elementwise with broadcasting; one of the two may be a number. */
export function sub(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? affine(a, 1, -b) : subOp(a, b);
}

/** a · b, elementwise with broadcasting; one of the two may be a number. */
export function mul(a: Tensor, b: Tensor | number): Tensor {
  return typeof b === 'number' ? affine(a, b, -0) : mulOp(a, b);
}

/** a / b; a number may stand on either side. Division by a number multiplies by its inverse. */
export function div(a: Tensor | number, b: Tensor | number): Tensor {
  if (typeof a === 'number') return mul(reciprocal(b as Tensor), a);
  return typeof b === 'number' ? affine(a, 1 / b, -0) : divOp(a, b);
}

setAccumulate(addOp);
