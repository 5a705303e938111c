import { EliError, refusePromise } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { checkShape, type Shape, showShape, sizeOf } from './shape.ts';
import { ARRAY_OF, type DType, ELEMENT_BYTES, Tensor } from './tensor.ts';

/** An uninitialised dense tensor. @throws EliError `SHAPE` for an empty or malformed shape. */
export function empty(engine: Engine, shape: Shape, dtype: DType = 'f32'): Tensor {
  refusePromise('the engine', engine);
  checkShape('empty', shape);
  return new Tensor({ storage: engine.allocate(sizeOf(shape) * ELEMENT_BYTES), shape, dtype });
}

/**
 * A tensor with the given numbers in row-major order. The dtype follows a typed array; plain arrays become f32.
 * @throws EliError `SHAPE` when the numbers do not fill the shape.
 */
export function tensor(
  engine: Engine,
  data: ArrayLike<number>,
  shape: Shape = [data.length],
  dtype?: DType,
): Tensor {
  refusePromise('tensor: the data', data);
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

export function zeros(engine: Engine, shape: Shape, dtype: DType = 'f32'): Tensor {
  return full(engine, shape, 0, dtype);
}

/** Sets every element of a contiguous tensor to `value`. */
export function fill(target: Tensor, value: number): void {
  const bits = target.dtype === 'f32' ? new Uint32Array(new Float32Array([value]).buffer)[0]! : value >>> 0;
  launch1d(target.engine, 'elementwise/fill.wgsl', target.size, {
    storages: [target.storage],
    params: { n: target.size, offset: target.offset, bits },
  });
}

/** Workgroup size of kernels with one invocation an element. */
const WORKGROUP = 64;

/**
 * Launches a kernel with one invocation an element over as many dimensions of workgroups as the limits ask for. The
 * kernel finds its element with `flat_index` of lib/index.wgsl.
 */
export function launch1d(
  engine: Engine,
  file: string,
  invocations: number,
  launch: Omit<Parameters<Engine['run']>[1], 'groups'>,
): void {
  const groups = Math.ceil(invocations / WORKGROUP);
  const x = Math.min(groups, 32768);
  engine.run(file, { ...launch, groups: [x, Math.ceil(groups / x)] });
}
