import * as assert from 'uvu/assert';
import { record } from '../../src/autograd/tape.ts';
import { floatsToHalves, halvesToFloats } from '../../src/files/floats.ts';
import type { Engine } from '../../src/gpu/engine.ts';
import {
  type CaseInput,
  EXACT,
  type OpCase,
  type OpDefinition,
  type Tolerance,
} from '../../src/ops/core/define.ts';
import { type NdArray, ndarray } from '../../src/ops/core/ndarray.ts';
import { transpose } from '../../src/ops/views.ts';
import { tensor } from '../../src/tensor/create.ts';
import { bitsAt } from '../../src/tensor/random.ts';
import { sizeOf } from '../../src/tensor/shape.ts';
import { type FloatDType, isFloat, type Tensor } from '../../src/tensor/tensor.ts';

/** Float32-exact random inputs of a case, the same in every run. */
export function caseInputs(op: { readonly name: string }, c: OpCase<unknown>, number: number): NdArray[] {
  return c.inputs.map((input, i) => {
    const n = sizeOf(input.shape);
    if (input.values !== undefined) return ndarray(input.shape, input.values);
    const stream = [...op.name].reduce(
      (hash, ch) => (hash * 31 + ch.charCodeAt(0)) >>> 0,
      7 + i + 100 * number,
    );
    const [low, high] = input.range ?? [-2, 2];
    return ndarray(
      input.shape,
      Array.from({ length: n }, (_, k) => {
        const u = bitsAt({ seed: 1, stream }, k) / 2 ** 32;
        return input.below === undefined ? Math.fround(low + (high - low) * u) : Math.floor(u * input.below);
      }),
    );
  });
}

/** The dtypes in which an op takes its inputs of real numbers, on an adapter with or without f16. */
export function dtypesOf(op: OpDefinition<unknown>, engine: Engine): FloatDType[] {
  return op.half !== undefined && engine.has('shader-f16') ? ['f32', 'f16'] : ['f32'];
}

/** Tolerance of an op whose results are stored as f32, or as f16: those are rounded once more, by less than 2⁻¹⁰. */
export function toleranceIn(
  dtype: FloatDType,
  { tolerance, halfTolerance }: { tolerance: Tolerance; halfTolerance?: Tolerance },
): Tolerance {
  // What is exact in f32 (copies, comparisons) has results that f16 holds.
  if (dtype === 'f32' || tolerance === EXACT) return tolerance;
  return halfTolerance ?? { abs: tolerance.abs + 2 ** -24, rel: tolerance.rel + 2 ** -10 };
}

/** Dtype of input `i` of an op that is tested in `dtype`. */
export function dtypeOfInput(op: OpDefinition<unknown>, i: number, dtype: FloatDType): FloatDType {
  return dtype === 'f16' && op.half !== undefined && (op.half === true || op.half.includes(i))
    ? 'f16'
    : 'f32';
}

/** Inputs as the op gets them in `dtype`: those of f16 rounded to it. */
export function roundedTo(
  dtype: FloatDType,
  op: OpDefinition<unknown>,
  inputs: readonly NdArray[],
): NdArray[] {
  return inputs.map((x, i) =>
    dtypeOfInput(op, i, dtype) === 'f16' ? ndarray(x.shape, halvesToFloats(floatsToHalves(x.data))) : x,
  );
}

/** The array on the device; `transposed` inputs become views of data laid out the other way round. */
export function toTensor(engine: Engine, x: NdArray, input: CaseInput, dtype: FloatDType = 'f32'): Tensor {
  if (input.dtype === 'u32') return tensor(engine, Uint32Array.from(x.data), x.shape);
  if (input.transposed !== true || x.shape.length < 2)
    return tensor(engine, Float32Array.from(x.data), x.shape, dtype);
  const [rows, columns] = x.shape.slice(-2) as [number, number];
  const swapped = Float32Array.from(x.data, (_, k) => {
    const matrix = Math.floor(k / (rows * columns)) * rows * columns;
    const within = k % (rows * columns);
    return x.data[matrix + (within % rows) * columns + Math.floor(within / rows)]!;
  });
  return transpose(tensor(engine, swapped, [...x.shape.slice(0, -2), columns, rows], dtype));
}

/** Inputs that are piecewise constant or have no gradient by design. */
const NO_GRADIENT: Readonly<Record<string, readonly number[]>> = {
  where: [0],
  leakyReluBackward: [1],
  reluBackward: [1],
};

/** Has the inputs of an op that have a gradient require it, and returns those. */
export function requireGradients(op: OpDefinition<unknown>, inputs: readonly Tensor[]): Tensor[] {
  const wanted = inputs.filter((t, i) => isFloat(t.dtype) && !(NO_GRADIENT[op.name] ?? []).includes(i));
  for (const t of wanted) t.requiresGrad = true;
  return wanted;
}

/** Runs an op of the registry the way its exported function does: through the tape. */
export function applyRecorded(op: OpDefinition<unknown>, inputs: readonly Tensor[], attrs: unknown): Tensor {
  const output = op.forward(inputs, attrs);
  record(output, {
    op: op.name,
    inputs,
    backward: (g, needs) => op.backward!({ grad: g, inputs, output, attrs, needs }),
  });
  return output;
}

/** Fails with the worst element when |got − want| > abs + rel·|want| anywhere (not-a-number never passes). */
export function compare(
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  tolerance: Tolerance,
  what: string,
): void {
  assert.is(got.length, want.length, `${what}: length`);
  let worst = 0;
  let at = -1;
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue;
    const error = Math.abs(got[i]! - want[i]!) / (tolerance.abs + tolerance.rel * Math.abs(want[i]!));
    // A not-a-number as such would give way to the next element's error.
    const excess = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    if (excess > worst) {
      worst = excess;
      at = i;
    }
  }
  if (worst > 1) {
    assert.unreachable(
      `${what}: element ${at} is ${got[at]}, should be ${want[at]} (${worst.toFixed(1)} × the tolerance)`,
    );
  }
}

export type { OpDefinition };
