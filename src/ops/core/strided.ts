import { collapse, denseStrides, type Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Strides of `x` broadcast to `shape`: 0 along repeated dimensions. */
export function broadcastStrides(x: Tensor, shape: Shape): number[] {
  const skip = shape.length - x.rank;
  return shape.map((_, d) => (d < skip || x.shape[d - skip] === 1 ? 0 : x.strides[d - skip]));
}

/**
 * Loop description for kernels that walk several strided operands over one shape: one list of strides per operand, and
 * whether every operand is dense over the whole shape.
 */
export function stridedParams(shape: Shape, strides: readonly (readonly number[])[]) {
  const merged = collapse(shape, strides);
  const dense = denseStrides(merged.shape);
  return {
    ...merged,
    rank: merged.shape.length,
    dense: merged.strides.every((list) => list.every((stride, i) => stride === dense[i])),
  };
}

/** Elements per invocation of an elementwise kernel: four neighbours where all operands allow vectors. */
export function packOf(dense: boolean, size: number, offsets: readonly number[]): 1 | 4 {
  return dense && [size, ...offsets].every((n) => n % 4 === 0) ? 4 : 1;
}
