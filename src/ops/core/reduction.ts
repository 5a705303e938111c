import { empty } from '../../tensor/create.ts';
import { collapse, type Shape, sizeOf } from '../../tensor/shape.ts';
import { type FloatDType, floatDType, storedAs, type Tensor } from '../../tensor/tensor.ts';
import type { OpDefinition } from './define.ts';
import { type NdArray, ndarray, ravel, unravel } from './ndarray.ts';
import { rowLayout } from './rows.ts';

/** The reductions by their numbers in shaders/reduce/reduce.wgsl. */
export const REDUCE_CODES = { sum: 0, max: 1 } as const;

export interface ReductionAxes {
  /** Axes to reduce, from 0, sorted. They stay as dimensions of 1. */
  readonly axes: readonly number[];
  /** Of the result; default that of x. */
  readonly dtype?: FloatDType;
}

/** Most inner elements that one workgroup reduces: beyond it they are split into parts. */
const PART = 4096;

/** The shape of the result: reduced dimensions are 1. */
export function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((n, d) => (axes.includes(d) ? 1 : n));
}

/** How the kernel walks x: along the dimensions that are kept (outer), and those that are reduced (inner). */
function walkOf(x: Tensor, axes: readonly number[]) {
  const along = (dims: readonly number[]) =>
    collapse(
      dims.map((d) => x.shape[d]),
      [dims.map((d) => x.strides[d])],
    );
  const outer = along([...x.shape.keys()].filter((d) => !axes.includes(d)));
  const inner = along(axes);
  return {
    outer_shape: outer.shape,
    outer_stride: outer.strides[0],
    outer_rank: outer.shape.length,
    inner_shape: inner.shape,
    inner_stride: inner.strides[0].length === 0 ? [0] : inner.strides[0],
    inner_rank: Math.max(1, inner.shape.length),
    inner: axes.reduce((product, d) => product * x.shape[d], 1),
  };
}

interface Reduction {
  readonly kind: keyof typeof REDUCE_CODES;
  /** Factor of the result. Default 1. */
  readonly scale?: number;
  /** Of the result; default that of x. */
  readonly dtype?: FloatDType | undefined;
  /** Where to write the result; default a new tensor. */
  readonly into?: Tensor;
}

/** Reduces x over `axes`, which stay as dimensions of 1. */
export function launchReduction(
  op: string,
  x: Tensor,
  axes: readonly number[],
  { kind, scale = 1, dtype = floatDType(op, x), into }: Reduction,
): Tensor {
  floatDType(op, x);
  /** Reduces the inner elements of each output in parts of at most `part`. */
  const pass = (
    source: Tensor,
    over: readonly number[],
    target: Tensor,
    part: number,
    factor: number,
  ): void => {
    const walk = walkOf(source, over);
    const { overrides, groups } = rowLayout(source.engine, target.size, part);
    const parts = Math.ceil(walk.inner / part);
    source.engine.run('reduce/reduce.wgsl', {
      storages: [source.storage, target.storage],
      overrides: { ...overrides, OP: REDUCE_CODES[kind] },
      consts: storedAs({ Real: source.dtype, Result: target.dtype }),
      groups,
      params: { outputs: target.size, parts, part, offset: source.offset, scale: factor, ...walk },
    });
  };
  const y = into ?? empty(x.engine, keptShape(x.shape, axes), dtype);
  const inner = x.size / y.size;
  if (inner <= PART) {
    pass(x, axes, y, inner, scale);
    return y;
  }
  // The partial results of one output are few enough for one workgroup: 4,096 parts cover 16 million elements.
  const parts = Math.ceil(inner / PART);
  const partial = empty(x.engine, [y.size, parts]);
  pass(x, axes, partial, PART, 1);
  pass(partial, [1], y, parts, scale);
  partial.dispose();
  return y;
}

export function reductionReference(
  x: NdArray,
  axes: readonly number[],
  start: number,
  step: (sum: number, v: number) => number,
): NdArray {
  const out = ndarray(keptShape(x.shape, axes));
  out.data.fill(start);
  x.data.forEach((v, i) => {
    const index = unravel(x.shape, i).map((k, d) => (axes.includes(d) ? 0 : k));
    const at = ravel(out.shape, index);
    out.data[at] = step(out.data[at], v);
  });
  return out;
}

/** What the definitions of all reductions have in common. */
export const REDUCTION: Pick<OpDefinition<ReductionAxes>, 'cases' | 'bench' | 'half' | 'cost'> = {
  cases: [
    { inputs: [{ shape: [7, 33] }], attrs: { axes: [1] } },
    { inputs: [{ shape: [129, 5] }], attrs: { axes: [0] } },
    { inputs: [{ shape: [3, 4, 5], transposed: true }], attrs: { axes: [0, 2] } },
    { inputs: [{ shape: [1] }], attrs: { axes: [0] } },
    { inputs: [{ shape: [3, 1300] }], attrs: { axes: [1] } },
    { inputs: [{ shape: [9001] }], attrs: { axes: [0] } },
  ],
  bench: [
    { inputs: [{ shape: [1024, 1024] }], attrs: { axes: [1] } },
    { inputs: [{ shape: [1024, 1024] }], attrs: { axes: [0] } },
    { inputs: [{ shape: [1 << 20] }], attrs: { axes: [0] } },
  ],
  half: true,
  cost: ([x]) => ({ flops: sizeOf(x), bytes: 4 * sizeOf(x) }),
};
