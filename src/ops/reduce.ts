import type { Engine } from '../gpu/engine.ts';
import type { Storage } from '../gpu/storage.ts';
import { empty, launch1d } from '../tensor/create.ts';
import { collapse, normalizeAxes, normalizeAxis, type Shape, sameShape, sizeOf } from '../tensor/shape.ts';
import { type FloatDType, floatDType, storedAs, Tensor } from '../tensor/tensor.ts';
import { div, equal, mul } from './binary.ts';
import { cast } from './cast.ts';
import { defineOp, EXACT, type Tolerance } from './core/define.ts';
import { atBroadcast, build, type NdArray, ndarray, unravel } from './core/ndarray.ts';
import { rowLayout } from './core/rows.ts';
import { affine } from './unary.ts';
import { contiguous, expand, permute, reshape } from './views.ts';

interface Axes {
  /** Axes to reduce, from 0, sorted. They stay as dimensions of 1. */
  readonly axes: readonly number[];
  /** Of the result; default that of x. */
  readonly dtype?: FloatDType;
}

/** Inner elements one workgroup takes before the work is cut into parts. */
const PART = 4096;

function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((n, d) => (axes.includes(d) ? 1 : n));
}

function launchReduce(
  op: string,
  code: number,
  x: Tensor,
  axes: readonly number[],
  scale: number,
  dtype: FloatDType = floatDType(op, x),
  y = empty(x.engine, keptShape(x.shape, axes), dtype),
): Tensor {
  floatDType(op, x);
  const outerAxes = [...x.shape.keys()].filter((d) => !axes.includes(d));
  const outer = collapse(
    outerAxes.map((d) => x.shape[d]!),
    [outerAxes.map((d) => x.strides[d]!)],
  );
  const inner = collapse(
    axes.map((d) => x.shape[d]!),
    [axes.map((d) => x.strides[d]!)],
  );
  const outputs = y.size;
  const length = x.size / outputs;
  const pass = (
    source: Tensor,
    target: Tensor,
    parts: number,
    part: number,
    layout: object,
    factor: number,
  ): void => {
    const { overrides, groups } = rowLayout(x.engine, target.size, part);
    x.engine.run('reduce/reduce.wgsl', {
      storages: [source.storage, target.storage],
      overrides: { ...overrides, OP: code },
      consts: storedAs({ Real: source.dtype, Result: target.dtype }),
      groups,
      params: { outputs: target.size, parts, part, offset: source.offset, scale: factor, ...layout } as never,
    });
  };
  const layout = {
    outer_shape: outer.shape,
    outer_stride: outer.strides[0]!,
    outer_rank: outer.shape.length,
    inner_shape: inner.shape,
    inner_stride: inner.strides[0]!.length === 0 ? [0] : inner.strides[0]!,
    inner_rank: Math.max(1, inner.shape.length),
    inner: length,
  };
  const parts = Math.ceil(length / PART);
  if (parts === 1) {
    pass(x, y, 1, length, layout, scale);
    return y;
  }
  const partial = empty(x.engine, [outputs, parts]);
  pass(x, partial, parts, PART, layout, 1);
  // The partial sums of one output are few enough for one workgroup: 4,096 parts cover 16 million elements.
  pass(
    partial,
    y,
    1,
    parts,
    {
      outer_shape: [outputs],
      outer_stride: [parts],
      outer_rank: 1,
      inner_shape: [parts],
      inner_stride: [1],
      inner_rank: 1,
      inner: parts,
    },
    scale,
  );
  partial.dispose();
  return y;
}

/** Writes the sum of x over its first dimension, as `dtype`, into the start of `target`. Leaves no trace on the tape. */
export function sumPartsInto(x: Tensor, target: Storage<Engine>, dtype: FloatDType): void {
  const y = new Tensor({ storage: target.retain(), shape: keptShape(x.shape, [0]), dtype });
  launchReduce('sum', 0, x, [0], 1, dtype, y);
  y.dispose();
}

function reduceReference(
  x: NdArray,
  axes: readonly number[],
  start: number,
  step: (sum: number, v: number) => number,
): NdArray {
  const out = ndarray(keptShape(x.shape, axes));
  out.data.fill(start);
  x.data.forEach((v, i) => {
    const index = unravel(x.shape, i).map((k, d) => (axes.includes(d) ? 0 : k));
    const at = index.reduce((sum, k, d) => sum * out.shape[d]! + k, 0);
    out.data[at] = step(out.data[at]!, v);
  });
  return out;
}

const BENCH = [
  { inputs: [{ shape: [1024, 1024] }], attrs: { axes: [1] } },
  { inputs: [{ shape: [1024, 1024] }], attrs: { axes: [0] } },
  { inputs: [{ shape: [1 << 20] }], attrs: { axes: [0] } },
];
const CASES = [
  { inputs: [{ shape: [7, 33] }], attrs: { axes: [1] } },
  { inputs: [{ shape: [129, 5] }], attrs: { axes: [0] } },
  { inputs: [{ shape: [3, 4, 5], transposed: true }], attrs: { axes: [0, 2] } },
  { inputs: [{ shape: [1] }], attrs: { axes: [0] } },
  { inputs: [{ shape: [3, 1300] }], attrs: { axes: [1] } },
  { inputs: [{ shape: [9001] }], attrs: { axes: [0] } },
];
const SUM_TOLERANCE: Tolerance = { abs: 2e-4, rel: 2e-6 };
const SUM_NOTE = 'sums of up to 9,001 numbers of size 1 in f32';

const sumOp = defineOp<Axes>({
  name: 'sum',
  forward: ([x], { axes, dtype }) => launchReduce('sum', 0, x!, axes, 1, dtype),
  backward: ({ grad, inputs: [x] }) => [expand(cast(grad, floatDType('sum', x!)), x!.shape)],
  reference: ([x], { axes }) => reduceReference(x!, axes, 0, (sum, v) => sum + v),
  cases: CASES,
  bench: BENCH,
  half: true,
  tolerance: SUM_TOLERANCE,
  toleranceNote: SUM_NOTE,
  cost: ([x]) => ({ flops: sizeOf(x!), bytes: 4 * sizeOf(x!) }),
});

const meanOp = defineOp<Axes>({
  name: 'mean',
  forward: ([x], { axes }) => launchReduce('mean', 0, x!, axes, sizeOf(keptShape(x!.shape, axes)) / x!.size),
  backward: ({ grad, inputs, output }) => [
    affine(expand(grad, inputs[0]!.shape), output.size / inputs[0]!.size, 0),
  ],
  reference: ([x], { axes }) => {
    const sum = reduceReference(x!, axes, 0, (s, v) => s + v);
    return ndarray(
      sum.shape,
      sum.data.map((v) => (v * sum.data.length) / x!.data.length),
    );
  },
  cases: CASES,
  bench: BENCH,
  half: true,
  tolerance: { abs: 2e-6, rel: 2e-6 },
  cost: ([x]) => ({ flops: sizeOf(x!), bytes: 4 * sizeOf(x!) }),
});

const maxOp = defineOp<Axes>({
  name: 'max',
  forward: ([x], { axes }) => launchReduce('max', 1, x!, axes, 1),
  // Equal maxima share the gradient evenly (PyTorch's amax).
  backward: ({ grad, inputs, output, attrs }) => {
    const mask = equal(inputs[0]!, output);
    return [mul(mask, div(grad, sumOp([mask], attrs)))];
  },
  reference: ([x], { axes }) => reduceReference(x!, axes, Number.NEGATIVE_INFINITY, Math.max),
  cases: CASES,
  bench: BENCH,
  half: true,
  tolerance: EXACT,
  cost: ([x]) => ({ flops: sizeOf(x!), bytes: 4 * sizeOf(x!) }),
});

function reduction(name: string, op: (inputs: readonly Tensor[], attrs: Axes) => Tensor) {
  return (x: Tensor, axes?: number | readonly number[], keepDims = false): Tensor => {
    const list = normalizeAxes(name, axes, x.shape);
    const y = op([x], { axes: list });
    return keepDims
      ? y
      : reshape(
          y,
          x.shape.filter((_, d) => !list.includes(d)),
        );
  };
}

type Reduction = (x: Tensor, axes?: number | readonly number[], keepDims?: boolean) => Tensor;

/**
 * Sum along `axes` (all by default); reduced axes are dropped unless `keepDims`. Fixed order: same bits each run. Sums
 * and means of f16 are taken in f32 and stored as f16.
 */
export const sum: Reduction = reduction('sum', sumOp);
export const mean: Reduction = reduction('mean', meanOp);
/** Largest element along `axes`; equal maxima share the gradient evenly. */
export const max: Reduction = reduction('max', maxOp);

/** Sum over `axes`, which are dropped, as `dtype`: of f16 as f32 it is not rounded. */
export function sumAs(x: Tensor, axes: readonly number[], dtype: FloatDType): Tensor {
  const y = sumOp([x], { axes, dtype });
  return reshape(
    y,
    x.shape.filter((_, d) => !axes.includes(d)),
  );
}

/** Sums `x` down to `shape`, the reverse of broadcasting `shape` to x's. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const skip = x.rank - shape.length;
  const axes = [...x.shape.keys()].filter((d) => d < skip || (shape[d - skip] === 1 && x.shape[d] !== 1));
  return reshape(sumOp([x], { axes }), shape);
}

const argmaxOp = defineOp<null>({
  name: 'argmax',
  forward: ([x]) => {
    const dtype = floatDType('argmax', x!);
    const n = x!.shape.at(-1)!;
    const y = empty(x!.engine, x!.shape.slice(0, -1), 'u32');
    launch1d(x!.engine, 'reduce/argmax.wgsl', y.size, {
      consts: storedAs({ Real: dtype }),
      storages: [x!.storage, y.storage],
      params: { rows: y.size, n, offset: x!.offset },
    });
    return y;
  },
  reference: ([x]) =>
    build(x!.shape.slice(0, -1), (index) => {
      const row = Array.from({ length: x!.shape.at(-1)! }, (_, i) => atBroadcast(x!, [...index, i]));
      return row.indexOf(Math.max(...row));
    }),
  cases: [
    { inputs: [{ shape: [129, 5] }], attrs: null },
    { inputs: [{ shape: [2, 3], values: [1, 4, 4, 2, 2, 2] }], attrs: null },
  ],
  half: true,
  tolerance: EXACT,
});

/** Index (u32) of the largest element along `axis`, the first of equals. No gradient. */
export function argmax(x: Tensor, axis = -1): Tensor {
  const at = normalizeAxis('argmax', axis, x.shape);
  const order = [...x.shape.keys()].filter((d) => d !== at).concat(at);
  return argmaxOp([contiguous(at === x.rank - 1 ? x : permute(x, order))], null);
}
