// Random cases of every op for the property tests: shapes, attributes, and how each input lies in memory.
import fc from 'fast-check';
import type { Engine } from '../../src/gpu/engine.ts';
import { type CaseInput, type OpCase, type OpDefinition, registry } from '../../src/ops/core/define.ts';
import type { NdArray } from '../../src/ops/core/ndarray.ts';
import { permute, slice } from '../../src/ops/views.ts';
import { tensor } from '../../src/tensor/create.ts';
import { denseStrides, type Shape, sizeOf } from '../../src/tensor/shape.ts';
import type { DType, Tensor } from '../../src/tensor/tensor.ts';

/** How an input lies in memory: dense, with its axes in another order, or inside a larger tensor. */
export interface Layout {
  /** Sorts the axes: memory has axis `order[0]` outermost. Of as many numbers as are needed, the rest is ignored. */
  readonly order: readonly number[];
  /** Elements before and after along the axis `axis mod rank`. */
  readonly axis: number;
  readonly before: number;
  readonly after: number;
}

export interface RandomCase {
  readonly op: string;
  readonly case: OpCase<unknown>;
  readonly layouts: readonly Layout[];
  /** Seed of the values. */
  readonly values: number;
}

const LARGEST = 3000;
/** Around powers of two and workgroups, where kernels go wrong. */
const dim = fc.constantFrom(1, 1, 2, 3, 4, 5, 7, 8, 9, 16, 17, 31, 33, 64, 65, 127, 130);
const shape = (min: number, max: number): fc.Arbitrary<number[]> =>
  fc.array(dim, { minLength: min, maxLength: max }).map(shrunk);

/** Cuts the largest dimensions until the tensor is small enough for the slow references. */
function shrunk(dims: readonly number[]): number[] {
  const out = [...dims];
  while (sizeOf(out) > LARGEST) {
    const largest = out.indexOf(Math.max(...out));
    out[largest] = Math.ceil(out[largest]! / 2);
  }
  return out;
}

/** A permutation of the axes of a shape, given numbers to sort them by. */
const orderOf = (rank: number, keys: readonly number[]): number[] =>
  Array.from({ length: rank }, (_, d) => d).sort((a, b) => keys[a]! - keys[b]! || a - b);

const keys = fc.array(fc.nat(20), { minLength: 8, maxLength: 8 });
const layout: fc.Arbitrary<Layout> = fc.oneof(
  fc.constant({ order: [0, 1, 2, 3, 4, 5, 6, 7], axis: 0, before: 0, after: 0 }),
  fc.record({ order: keys, axis: fc.nat(3), before: fc.nat(3), after: fc.nat(2) }),
);

/** Two shapes that broadcast together. */
const broadcastPair = fc
  .tuple(shape(1, 4), fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }), fc.nat(3), fc.boolean())
  .map(([full, ones, cut, swap]) => {
    const partial = full.map((n, d) => (ones[d] ? 1 : n)).slice(Math.min(cut, full.length - 1));
    const other = full.map((n, d) => (ones[d + 4] && !ones[d] ? 1 : n));
    return swap ? [partial, other] : [other, partial];
  });

type Cases = fc.Arbitrary<OpCase<unknown>>;
const of = (inputs: readonly (CaseInput | Shape)[], attrs: unknown = null): OpCase<unknown> => ({
  inputs: inputs.map((input) => (Array.isArray(input) ? { shape: input } : (input as CaseInput))),
  attrs,
});

/** Cases of an elementwise op: the ranges and attributes that it names itself, on any shapes. */
function elementwise(op: OpDefinition<unknown>): Cases {
  const shapes = op.cases[0]!.inputs.length === 1 ? shape(1, 4).map((s) => [s]) : broadcastPair;
  return fc.tuple(fc.constantFrom(...op.cases), shapes).map(([c, list]) => ({
    attrs: c.attrs,
    inputs: list.map((s, i) => ({
      shape: s,
      ...(c.inputs[i]!.range === undefined ? {} : { range: c.inputs[i]!.range }),
    })),
  }));
}

const withAxis = (min: number, make: (s: number[], axis: number, n: number) => OpCase<unknown>): Cases =>
  fc.tuple(shape(min, 4), fc.nat(3), fc.nat(1000)).map(([s, axis, n]) => make(s, axis % s.length, n));

const axesOf = shape(1, 4).chain((s) =>
  fc.subarray([...s.keys()], { minLength: 1 }).map((axes) => of([s], { axes: axes.sort((a, b) => a - b) })),
);

const rows = (attrs: unknown = null): Cases =>
  shape(1, 4).map((s) => of([{ shape: s, range: [-4, 4] }], attrs));

const matmulDims = fc.tuple(dim, dim, dim).map((dims) => dims.map((n) => Math.min(n, 66)));

const small = (most: number): fc.Arbitrary<number> => fc.integer({ min: 1, max: most });
const two = (arbitrary: fc.Arbitrary<number>): fc.Arbitrary<[number, number]> =>
  fc.tuple(arbitrary, arbitrary);

/** A window, the size it gives, and the size of an image that gives it; some pixels may be left over at the end. */
const windows = fc
  .record({
    kernel: two(small(4)),
    stride: two(small(3)),
    padding: two(fc.nat(2)),
    dilation: two(small(2)),
    out: two(small(6)),
    left: two(fc.nat(2)),
  })
  .map(({ kernel, stride, padding, dilation, out, left }) => {
    const size = [0, 1].map((d) => {
      const reach = dilation[d]! * (kernel[d]! - 1) + 1;
      return (out[d]! - 1) * stride[d]! + reach - 2 * padding[d]! + (left[d]! % stride[d]!);
    }) as [number, number];
    return { kernel, stride, padding, dilation, out, size };
  })
  .filter(({ size }) => size[0] > 0 && size[1] > 0);

const convolutions = fc.record({
  window: windows,
  n: small(3),
  groups: small(3),
  inputs: small(5),
  outputs: small(18),
});

/** x, weight and output shapes of a convolution, and its attributes. */
function shapesOf(c: typeof convolutions extends fc.Arbitrary<infer T> ? T : never) {
  const { window, n, groups, inputs, outputs } = c;
  const { kernel, stride, padding, dilation, out, size } = window;
  return {
    x: [n, groups * inputs, ...size],
    weight: [groups * outputs, inputs, ...kernel],
    y: [n, groups * outputs, ...out],
    attrs: { stride, padding, dilation, groups },
    kernel,
    size,
  };
}

const resamplings = fc.oneof(
  fc.record({
    axes: fc.constantFrom<unknown>(
      { mode: 'adaptive' },
      { mode: 'nearest' },
      { mode: 'bilinear', alignCorners: true },
      { mode: 'bilinear', alignCorners: false },
    ),
    size: two(small(9)),
    out: two(small(9)),
  }),
  // An average's padding is at most half its kernel, so that every window has a pixel.
  fc.tuple(windows, fc.boolean()).map(([{ kernel, stride, out }, includePadding]) => {
    const padding = kernel.map((k) => Math.floor(k / 2)) as [number, number];
    const size = [0, 1].map((d) => Math.max(1, (out[d]! - 1) * stride[d]! + kernel[d]! - 2 * padding[d]!));
    const fits = [0, 1].map((d) => Math.floor((size[d]! + 2 * padding[d]! - kernel[d]!) / stride[d]!) + 1);
    return { axes: { mode: 'average', kernel, stride, padding, includePadding }, size, out: fits };
  }),
);

/** Images of at least four values a channel, and whether a residual is added. */
const normalised = fc.record({
  n: fc.integer({ min: 2, max: 5 }),
  c: small(6),
  size: two(fc.integer({ min: 2, max: 9 })),
  relu: fc.boolean(),
  residual: fc.boolean(),
});
const positive = (n: number): CaseInput => ({ shape: [n], range: [0.5, 1.5] });

/** Generators of ops that are not elementwise; an op without one is tried on its own cases, resized. */
const CASES: Readonly<Record<string, Cases>> = {
  contiguous: shape(1, 4).map((s) => of([s])),
  cast: shape(1, 4).map((s) => of([s], { dtype: 'f32' })),
  reshape: fc.tuple(shape(1, 4), fc.nat(4)).map(([s, cut]) => {
    const at = cut % (s.length + 1);
    return of([s], { shape: [sizeOf(s.slice(0, at)), sizeOf(s.slice(at))] });
  }),
  permute: fc.tuple(shape(1, 4), keys).map(([s, k]) => of([s], { axes: orderOf(s.length, k) })),
  slice: withAxis(1, (s, axis, n) => {
    const start = n % s[axis]!;
    const end = start + 1 + ((n >> 3) % (s[axis]! - start));
    return of([s], { axis, start, end });
  }),
  pad: withAxis(1, (s, axis, n) => of([s], { axis, before: n % 4, after: (n >> 3) % 3 })),
  expand: broadcastPair.map(([a, b]) => {
    const rank = Math.max(a!.length, b!.length);
    const at = (s: number[], d: number): number => s[d - rank + s.length] ?? 1;
    const full = Array.from({ length: rank }, (_, d) => Math.max(at(a!, d), at(b!, d)));
    return of([a!], { shape: full });
  }),
  concat: fc
    .tuple(shape(1, 3), fc.nat(2), fc.array(dim, { minLength: 1, maxLength: 5 }))
    .map(([s, axis, sizes]) => {
      const at = axis % s.length;
      return of(
        sizes.map((size) => s.map((n, d) => (d === at ? size : Math.min(n, 9)))),
        { axis: at },
      );
    }),
  sum: axesOf,
  mean: axesOf,
  max: axesOf,
  argmax: shape(2, 4).map((s) => of([s])),
  softmax: rows(),
  logSoftmax: rows(),
  logSumExp: rows(),
  crossEntropyRows: fc.tuple(dim, dim).map(([n, c]) =>
    of([
      { shape: [n, c], range: [-4, 4] },
      { shape: [n], dtype: 'u32', below: c },
    ]),
  ),
  crossEntropyBackward: fc
    .tuple(dim, dim)
    .map(([n, c]) =>
      of([{ shape: [n, c], range: [-4, 4] }, { shape: [n], dtype: 'u32', below: c }, { shape: [n] }]),
    ),
  gather: fc
    .tuple(dim, shape(0, 2), dim)
    .map(([n, rest, m]) => of([shrunk([n, ...rest]), { shape: [m], dtype: 'u32', below: 1 }]))
    .map((c) => of([c.inputs[0]!, { ...c.inputs[1]!, below: c.inputs[0]!.shape[0]! }])),
  scatterAdd: fc.tuple(dim, shape(0, 2), dim).map(([n, rest, table]) => {
    const x = shrunk([n, ...rest]);
    return of([x, { shape: [x[0]!], dtype: 'u32', below: table }], { rows: table });
  }),
  matmul: fc
    .tuple(matmulDims, fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 2 }), fc.nat(2))
    .map(([[m, k, n], batch, which]) =>
      of(
        [
          [...(which === 1 ? [] : batch), m!, k!],
          [...(which === 2 ? [] : batch), k!, n!],
        ],
        {},
      ),
    ),
  linear: matmulDims.map(([m, k, n]) => of([[m!, k!], [n!, k!], [n!]])),
  conv2d: fc.tuple(convolutions, fc.boolean()).map(([c, bias]) => {
    const { x, weight, attrs } = shapesOf(c);
    return of(bias ? [x, weight, [weight[0]!]] : [x, weight], attrs);
  }),
  conv2dInputGrad: convolutions.map((c) => {
    const { weight, y, attrs, size } = shapesOf(c);
    return of([y, weight], { ...attrs, size });
  }),
  conv2dWeightGrad: convolutions.map((c) => {
    const { x, y, attrs, kernel } = shapesOf(c);
    return of([y, x], { ...attrs, kernel });
  }),
  resample: fc
    .tuple(resamplings, small(3), small(3), fc.boolean())
    .map(([r, n, c, transposed]) => of([[n, c, ...(transposed ? r.out : r.size)]], { ...r, transposed })),
  maxPoolIndex: fc.tuple(windows, small(3), small(3)).map(([{ kernel, stride, out }, n, c]) => {
    const size = [0, 1].map((d) => (out[d]! - 1) * stride[d]! + kernel[d]!);
    return of([[n, c, ...size]], { kernel, stride, padding: [0, 0], dilation: [1, 1], out });
  }),
  // Their indices must lie in windows: the op's own case has windows that reach everything.
  poolTake: fc.tuple(small(5), small(5)).map(([n, c]) => planesOf('poolTake', n, c)),
  poolPut: fc.tuple(small(5), small(5)).map(([n, c]) => planesOf('poolPut', n, c)),
  batchNorm: normalised.map(({ n, c, size, relu, residual }) => {
    const image: CaseInput = { shape: [n, c, ...size], range: [-2, 3] };
    return of([image, positive(c), [c], ...(residual ? [image] : [])], { epsilon: 0.1, relu });
  }),
  batchNormEval: normalised.map(({ n, c, size, relu, residual }) => {
    const image = [n, c, ...size];
    return of([image, positive(c), [c], [c], positive(c), ...(residual ? [image] : [])], {
      epsilon: 1e-5,
      relu,
    });
  }),
  where: fc
    .tuple(broadcastPair, fc.boolean())
    .map(([[a, b], swap]) => of(swap ? [a!, b!, a!] : [b!, a!, b!])),
};

/** Whether input `i` of an op may be a view of any kind. */
export function mayBeView({ dense = [] }: OpDefinition<unknown>, i: number): boolean {
  return dense !== true && !dense.includes(i);
}

/** An op's first case with `n` images of `c` channels. */
function planesOf(op: string, n: number, c: number): OpCase<unknown> {
  const first = registry.get(op)!.cases[0]!;
  return {
    ...first,
    inputs: first.inputs.map((input) => ({ ...input, shape: [n, c, ...input.shape.slice(2)] })),
  };
}

function casesOf(op: OpDefinition<unknown>): Cases {
  if (op.name in CASES) return CASES[op.name]!;
  const attrs = op.cases[0]?.attrs as Record<string, unknown> | null | undefined;
  if (attrs !== null && attrs !== undefined && 'alpha' in attrs) return elementwise(op);
  return attrs === null ? resized(op) : fc.constantFrom(...op.cases);
}

/**
 * The own cases of an op without a generator, in other sizes: equal sizes stay equal, so that inputs still fit one
 * another. Attributes may depend on the sizes: cases with attributes keep theirs, and only values and layouts vary.
 */
function resized(op: OpDefinition<unknown>): Cases {
  return fc
    .tuple(fc.constantFrom(...op.cases), fc.array(dim, { minLength: 8, maxLength: 8 }))
    .map(([c, dims]) => {
      const sizes = [...new Set(c.inputs.flatMap((input) => [...input.shape]))];
      const size = (n: number): number => Math.min(dims[sizes.indexOf(n) % dims.length]!, 17);
      return {
        ...c,
        inputs: c.inputs.map(({ values: _, ...input }) => ({ ...input, shape: input.shape.map(size) })),
      };
    });
}

/** A random case of `op` with random layouts and values. */
export function randomCase(op: OpDefinition<unknown>): fc.Arbitrary<RandomCase> {
  return fc.record({
    op: fc.constant(op.name),
    case: casesOf(op),
    layouts: fc.array(layout, { minLength: 5, maxLength: 5 }),
    values: fc.integer({ min: 0, max: 1e6 }),
  });
}

/** The array on the device in a layout. What lies around it is large, which no result may see. */
export function placed(engine: Engine, x: NdArray, dtype: DType | undefined, how: Layout): Tensor {
  const rank = x.shape.length;
  const order = orderOf(rank, how.order);
  const axis = rank === 0 ? 0 : how.axis % rank;
  const outer = order.map((d) => x.shape[d]! + (d === axis ? how.before + how.after : 0));
  const strides = denseStrides(outer);
  const around = dtype === 'u32' ? 0xffffffff : dtype === 'f16' ? 6e4 : 1e30;
  const data = dtype === 'u32' ? new Uint32Array(sizeOf(outer)) : new Float32Array(sizeOf(outer));
  data.fill(around);
  const dense = denseStrides(x.shape);
  x.data.forEach((value, i) => {
    let at = 0;
    order.forEach((d, k) => {
      const index = Math.floor(i / dense[d]!) % x.shape[d]!;
      at += (index + (d === axis ? how.before : 0)) * strides[k]!;
    });
    data[at] = value;
  });
  const whole = tensor(engine, data, outer, dtype);
  const inner = order.indexOf(axis);
  const cut =
    how.before + how.after === 0 ? whole : slice(whole, inner, how.before, how.before + x.shape[axis]!);
  // Axis d of the array is where `order` put it.
  return permute(
    cut,
    Array.from({ length: rank }, (_, d) => order.indexOf(d)),
  );
}
