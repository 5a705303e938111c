import { broadcastShapes, denseStrides, type Shape, sizeOf } from '../../tensor/shape.ts';

/** A dense float64 array on the CPU, for the references of ops: slow and simple. */
export interface NdArray {
  readonly shape: Shape;
  readonly data: Float64Array;
}

export function ndarray(shape: Shape, data: ArrayLike<number> = new Float64Array(sizeOf(shape))): NdArray {
  return { shape: [...shape], data: Float64Array.from(data) };
}

/** Index along each dimension of flat element `i`. */
export function unravel(shape: Shape, i: number): number[] {
  const strides = denseStrides(shape);
  return shape.map((n, d) => Math.floor(i / strides[d]) % n);
}

export function ravel(shape: Shape, index: readonly number[]): number {
  const strides = denseStrides(shape);
  return index.reduce((sum, at, d) => sum + at * strides[d], 0);
}

export function valueAt(x: NdArray, index: readonly number[]): number {
  return x.data[ravel(x.shape, index)];
}

/** New array with `fn(index)` at each index. */
export function build(shape: Shape, fn: (index: number[]) => number): NdArray {
  const out = ndarray(shape);
  for (let i = 0; i < out.data.length; i++) out.data[i] = fn(unravel(shape, i));
  return out;
}

/** Element of `x` at `index` of an array `x` broadcasts to. */
export function atBroadcast(x: NdArray, index: readonly number[]): number {
  const skip = index.length - x.shape.length;
  const within = x.shape.map((n, d) => (n === 1 ? 0 : index[d + skip]));
  return valueAt(x, within);
}

/** New array with `fn(value)` of each element. */
export function mapped(x: NdArray, fn: (value: number) => number): NdArray {
  return { shape: x.shape, data: x.data.map(fn) };
}

export function mapBroadcast(
  op: string,
  xs: readonly NdArray[],
  fn: (...values: number[]) => number,
): NdArray {
  const shape = xs.map((x) => x.shape).reduce((a, b) => broadcastShapes(op, a, b));
  return build(shape, (index) => fn(...xs.map((x) => atBroadcast(x, index))));
}
