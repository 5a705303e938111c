import { EliError, nameOf } from '../errors.ts';

/** Sizes of the dimensions, outermost first; `[]` is a single number. */
export type Shape = readonly number[];

/** Kernels address up to eight dimensions. */
export const MAX_RANK = 8;

export function sizeOf(shape: Shape): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** Strides of a dense row-major layout, in elements. */
export function denseStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

export function showShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Kernels compute indices below 2^31 (shaders/lib/divide.wgsl). */
const MAX_ELEMENTS = 2 ** 31 - 1;

/** @throws EliError `SHAPE` for more elements than kernels can index, in memory or by repetition. */
export function checkSize(what: string, shape: Shape): void {
  const size = sizeOf(shape);
  if (size <= MAX_ELEMENTS) return;
  throw new EliError(
    'SHAPE',
    `${what}: ${showShape(shape)} has ${size} elements, at most ${MAX_ELEMENTS} are supported`,
    {
      hint: 'work on parts of it',
    },
  );
}

/** @throws EliError `SHAPE` unless every dimension is a positive integer and there are at most eight. */
export function checkShape(op: string, shape: Shape): void {
  if (!Array.isArray(shape)) {
    throw new EliError('SHAPE', `${op}: the shape is ${nameOf(shape)}`, {
      hint: 'give an array of sizes: [2, 3]',
    });
  }
  if (shape.length > MAX_RANK) {
    throw new EliError(
      'SHAPE',
      `${op}: ${showShape(shape)} has ${shape.length} dimensions, at most ${MAX_RANK} are supported`,
    );
  }
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 1) {
      throw new EliError('SHAPE', `${op}: ${showShape(shape)} is not a shape of positive integers`, {
        hint: n === 0 ? 'empty tensors are not supported: leave them out' : 'check the dimensions',
      });
    }
  }
}

/** @throws EliError `SHAPE` unless the shape is `want`, where a name such as `n` stands for any size. */
export function expectShape(
  what: string,
  shape: Shape,
  want: readonly (number | string)[],
  hint?: string,
): void {
  if (shape.length === want.length && want.every((n, i) => typeof n === 'string' || n === shape[i])) return;
  const message = `${what}: expected shape [${want.join(', ')}], got ${showShape(shape)}`;
  throw new EliError('SHAPE', message, hint === undefined ? {} : { hint });
}

/** The shape two operands broadcast to by NumPy's rules. @throws EliError `SHAPE` naming the op and both shapes. */
export function broadcastShapes(op: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const m = a[i - rank + a.length] ?? 1;
    const n = b[i - rank + b.length] ?? 1;
    if (m !== n && m !== 1 && n !== 1) {
      throw new EliError(
        'SHAPE',
        `${op}: shapes ${showShape(a)} and ${showShape(b)} do not broadcast (${m} against ${n})`,
      );
    }
    return Math.max(m, n);
  });
}

/** `axis` counted from 0; negative axes count from the end. @throws EliError `SHAPE` when out of range. */
export function normalizeAxis(op: string, axis: number, shape: Shape): number {
  const at = axis < 0 ? axis + shape.length : axis;
  if (!Number.isInteger(axis) || at < 0 || at >= shape.length) {
    throw new EliError('SHAPE', `${op}: axis ${axis} is out of range for shape ${showShape(shape)}`);
  }
  return at;
}

/** Several axes, sorted, each once; undefined means all. */
export function normalizeAxes(
  op: string,
  axes: number | readonly number[] | undefined,
  shape: Shape,
): number[] {
  if (axes === undefined) return shape.map((_, i) => i);
  const list = typeof axes === 'number' ? [axes] : axes;
  if (!Array.isArray(list)) throw new EliError('SHAPE', `${op}: the axes are ${nameOf(axes)}`);
  return [...new Set(list.map((axis) => normalizeAxis(op, axis, shape)))].sort((a, b) => a - b);
}

/**
 * Merges neighbouring dimensions that have a common stride in every operand, and drops dimensions of 1, so that kernels
 * loop over as few dimensions as possible. `strides` has one list per operand.
 */
export function collapse(
  shape: Shape,
  strides: readonly (readonly number[])[],
): { shape: number[]; strides: number[][] } {
  const outShape: number[] = [];
  const outStrides: number[][] = strides.map(() => []);
  for (let i = 0; i < shape.length; i++) {
    const n = shape[i]!;
    if (n === 1) continue;
    const last = outShape.length - 1;
    const mergeable = last >= 0 && strides.every((s, k) => outStrides[k]![last] === s[i]! * n);
    if (mergeable) {
      outShape[last]! *= n;
      for (let k = 0; k < strides.length; k++) outStrides[k]![last] = strides[k]![i]!;
    } else {
      outShape.push(n);
      for (let k = 0; k < strides.length; k++) outStrides[k]!.push(strides[k]![i]!);
    }
  }
  return { shape: outShape, strides: outStrides };
}

/** The shape without the dimensions `axes`. */
export function withoutAxes(shape: Shape, axes: readonly number[]): Shape {
  return shape.filter((_, d) => !axes.includes(d));
}
