import { empty } from '../../tensor/create.ts';
import { collapse, type Shape, sizeOf } from '../../tensor/shape.ts';
import { type FloatDType, floatDType, storedAs, type Tensor } from '../../tensor/tensor.ts';
import type { OpDefinition } from './define.ts';
import { type NdArray, ndarray, ravel, unravel } from './ndarray.ts';
import { rowLayout } from './rows.ts';

/** What shaders/reduce/reduce.wgsl does to the elements, by its override OP. */
export const REDUCE_CODES = { sum: 0, max: 1 } as const;

export interface ReductionAxes {
  /** Axes to reduce, from 0, sorted. They stay as dimensions of 1. */
  readonly axes: readonly number[];
  /** Of the result; default that of x. */
  readonly dtype?: FloatDType;
}

/** Inner elements that one workgroup reduces before the work is split into parts. */
const PART = 4096;

/** The shape that is left: reduced dimensions are 1. */
export function keptShape(shape: Shape, axes: readonly number[]): number[] {
  return shape.map((n, d) => (axes.includes(d) ? 1 : n));
}

/** How the kernel walks x: the dimensions that are kept, and those that are reduced. */
function walkOf(x: Tensor, axes: readonly number[]) {
  const along = (dims: readonly number[]) =>
    collapse(
      dims.map((d) => x.shape[d]!),
      [dims.map((d) => x.strides[d]!)],
    );
  const outer = along([...x.shape.keys()].filter((d) => !axes.includes(d)));
  const inner = along(axes);
  return {
    outer_shape: outer.shape,
    outer_stride: outer.strides[0]!,
    outer_rank: outer.shape.length,
    inner_shape: inner.shape,
    inner_stride: inner.strides[0]!.length === 0 ? [0] : inner.strides[0]!,
    inner_rank: Math.max(1, inner.shape.length),
    inner: axes.reduce((product, d) => product * x.shape[d]!, 1),
  };
}

/** Reduces each output's inner elements in `parts` parts of at most `part` elements. */
interface Pass {
  readonly code: number;
  readonly walk: ReturnType<typeof walkOf>;
  readonly parts: number;
  readonly part: number;
  readonly scale: number;
}

function launchPass(source: Tensor, target: Tensor, { code, walk, parts, part, scale }: Pass): void {
  const { overrides, groups } = rowLayout(source.engine, target.size, part);
  source.engine.run('reduce/reduce.wgsl', {
    storages: [source.storage, target.storage],
    overrides: { ...overrides, OP: code },
    consts: storedAs({ Real: source.dtype, Result: target.dtype }),
    groups,
    params: { outputs: target.size, parts, part, offset: source.offset, scale, ...walk },
  });
}

/** scale · the reduction of x over `axes`, which stay as dimensions of 1, as `dtype`; written into `y` if it is given. */
export function launchReduction(
  op: string,
  x: Tensor,
  axes: readonly number[],
  {
    kind,
    scale = 1,
    dtype = floatDType(op, x),
    into,
  }: {
    readonly kind: keyof typeof REDUCE_CODES;
    readonly scale?: number;
    readonly dtype?: FloatDType | undefined;
    readonly into?: Tensor;
  },
): Tensor {
  floatDType(op, x);
  const y = into ?? empty(x.engine, keptShape(x.shape, axes), dtype);
  const code = REDUCE_CODES[kind];
  const walk = walkOf(x, axes);
  const parts = Math.ceil(walk.inner / PART);
  if (parts === 1) {
    launchPass(x, y, { code, walk, parts: 1, part: walk.inner, scale });
    return y;
  }
  const partial = empty(x.engine, [y.size, parts]);
  launchPass(x, partial, { code, walk, parts, part: PART, scale: 1 });
  // The partial results of one output are few enough for one workgroup: 4,096 parts cover 16 million elements.
  launchPass(partial, y, { code, walk: walkOf(partial, [1]), parts: 1, part: parts, scale });
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
    out.data[at] = step(out.data[at]!, v);
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
  cost: ([x]) => ({ flops: sizeOf(x!), bytes: 4 * sizeOf(x!) }),
};
