import { brief, checkEngine, EliError } from '../errors.ts';
import { floatsToHalves, halvesToFloats } from '../files/floats.ts';
import type { Engine } from '../gpu/engine.ts';
import { launch1d } from './launch.ts';
import { numbersOf, type TensorData } from './numbers.ts';
import { checkShape, checkSize, type Shape, showShape, sizeOf } from './shape.ts';
import { ARRAY_OF, checkTensor, type DType, ELEMENT_BYTES, movedAs, Tensor } from './tensor.ts';

export { launch1d } from './launch.ts';

/**
 * An uninitialised dense tensor.
 * @throws EliError `SHAPE` for an empty or malformed shape, `DTYPE` for f16 on an adapter without it.
 */
export function empty(engine: Engine, shape: Shape, dtype: DType = 'f32'): Tensor {
  checkEngine(engine);
  checkShape('empty', shape);
  if (ELEMENT_BYTES[dtype] === undefined) {
    const known = Object.keys(ELEMENT_BYTES).join(', ');
    throw new EliError('DTYPE', `the dtype is ${brief(dtype)}, must be one of ${known}`);
  }
  if (dtype === 'f16') {
    checkHalves(engine);
    // More numbers of four bytes do not fit any buffer.
    checkSize('empty', shape);
  }
  return new Tensor({ storage: engine.allocate(sizeOf(shape) * ELEMENT_BYTES[dtype]), shape, dtype });
}

/** @throws EliError `DTYPE` when the adapter has no f16. */
export function checkHalves(engine: Engine): void {
  if (engine.has('shader-f16')) return;
  throw new EliError('DTYPE', `${engine.adapter.name} has no f16: its feature shader-f16 is missing`, {
    hint: 'use f32, or another adapter',
  });
}

/**
 * A tensor with the given numbers in row-major order. The shape follows their nesting: `tensor(engine, [[1, 2], [3, 4]])`.
 * The dtype follows a typed array; anything else becomes f32.
 * @throws EliError `SHAPE` when the numbers do not fill the shape or rows have different lengths, `ARGUMENT` for what is no
 * number, `DTYPE` for 64-bit integers.
 */
export function tensor(engine: Engine, data: TensorData, shape?: Shape, dtype?: DType): Tensor {
  const numbers = numbersOf('tensor', data);
  return filled(engine, numbers.data, shape ?? numbers.shape, dtype);
}

function filled(engine: Engine, data: ArrayLike<number>, shape: Shape, dtype: DType | undefined): Tensor {
  checkShape('tensor', shape);
  if (data.length !== sizeOf(shape)) {
    throw new EliError(
      'SHAPE',
      `tensor: ${data.length} numbers do not fill the shape ${showShape(shape)} (${sizeOf(shape)})`,
    );
  }
  const out = empty(engine, shape, dtype ?? dtypeOf(data));
  out.write(data);
  return out;
}

function dtypeOf(data: ArrayLike<number>): DType {
  if (data instanceof ARRAY_OF.u32) return 'u32';
  if (data instanceof ARRAY_OF.i32) return 'i32';
  return 'f32';
}

/** A tensor whose elements all equal `value`, filled on the device. */
export function full(engine: Engine, shape: Shape, value: number, dtype: DType = 'f32'): Tensor {
  const out = empty(engine, shape, dtype);
  fill(out, value);
  return out;
}

/** A new tensor of zeros. @throws EliError `SHAPE`, `OUT_OF_MEMORY` */
export function zeros(engine: Engine, shape: Shape, dtype: DType = 'f32'): Tensor {
  return full(engine, shape, 0, dtype);
}

/** Sets every element of a contiguous tensor to `value`. */
export function fill(target: Tensor, value: number): void {
  checkTensor('fill: target', target);
  const { dtype, size, offset } = target;
  const bits = dtype === 'f32' ? new Uint32Array(Float32Array.of(value).buffer)[0]! : value >>> 0;
  const half = dtype === 'f16' ? halvesToFloats(floatsToHalves([value]))[0]! : 0;
  launch1d(target.engine, 'elementwise/fill.wgsl', size, {
    storages: [target.storage],
    overrides: { HALF: dtype === 'f16' ? 1 : 0 },
    consts: movedAs(dtype),
    params: { n: size, offset, bits, value: half },
  });
}
