import { collapse, denseStrides, type Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/** Strides with which `x` is walked when broadcast to `shape`: 0 along repeated dimensions. */
export function broadcastStrides(x: Tensor, shape: Shape): number[] {
  const skip = shape.length - x.rank;
  return shape.map((_, d) => (d < skip || x.shape[d - skip] === 1 ? 0 : x.strides[d - skip]));
}

export interface StridedParams {
  readonly shape: number[];
  readonly rank: number;
  /** One list of strides an operand. */
  readonly strides: number[][];
  /** Whether every operand is dense over the whole shape. */
  readonly dense: boolean;
}

/** Loop description for kernels that walk several strided operands over one shape. */
export function stridedParams(shape: Shape, strides: readonly (readonly number[])[]): StridedParams {
  const merged = collapse(shape, strides);
  const dense = denseStrides(merged.shape);
  return {
    shape: merged.shape,
    rank: merged.shape.length,
    strides: merged.strides,
    dense: merged.strides.every((list) => list.every((stride, i) => stride === dense[i])),
  };
}

/** Elements that one invocation of an elementwise kernel takes: four neighbours where all operands allow vectors. */
export function packOf(dense: boolean, size: number, offsets: readonly number[]): 1 | 4 {
  return dense && [size, ...offsets].every((n) => n % 4 === 0) ? 4 : 1;
}
