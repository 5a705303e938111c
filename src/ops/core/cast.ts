import { EliError } from '../../errors.ts';
import { empty, launch1d } from '../../tensor/create.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { type FloatDType, isFloat, storedAs, type Tensor } from '../../tensor/tensor.ts';
import { defineOp, EXACT } from './define.ts';
import { contiguous } from './layout.ts';

const castOp = defineOp<{ dtype: FloatDType }>({
  name: 'cast',
  dense: true,
  forward: ([x], { dtype }) => {
    const y = empty(x!.engine, x!.shape, dtype);
    launch1d(x!.engine, 'elementwise/cast.wgsl', x!.size, {
      storages: [x!.storage, y.storage],
      consts: storedAs({ Source: x!.dtype, Result: dtype }),
      params: { n: x!.size, offset: x!.offset },
    });
    return y;
  },
  backward: ({ grad, inputs: [x] }) => [isFloat(x!.dtype) ? cast(grad, x!.dtype) : undefined],
  reference: ([x]) => x!,
  cases: [{ inputs: [{ shape: [129] }], attrs: { dtype: 'f32' } }],
  bench: [{ inputs: [{ shape: [1 << 20], below: 1000 }], attrs: { dtype: 'f32' } }],
  half: true,
  tolerance: EXACT,
  cost: ([x]) => ({ flops: 0, bytes: 8 * sizeOf(x!) }),
});

/**
 * The numbers of x as f32 or f16; x itself where they are. To f16 they are rounded, on most adapters to the nearest,
 * and become infinite from 65,520 on; whole numbers (u32, i32) become f32, exactly up to 2^24. The gradient is cast
 * back.
 * @throws EliError `DTYPE` for f16 on an adapter without it
 */
export function cast(x: Tensor, dtype: FloatDType): Tensor {
  return x.dtype === dtype ? x : castOp([contiguous(x)], { dtype });
}

/** @throws EliError `DTYPE` unless each of the parameters beside an x of `dtype` is f32 or of that dtype too. */
export function checkParameters(op: string, dtype: FloatDType, parameters: readonly Tensor[]): void {
  for (const parameter of parameters) {
    if (parameter.dtype === 'f32' || parameter.dtype === dtype) continue;
    throw new EliError('DTYPE', `${op}: ${parameter.toString()} beside an x of ${dtype}`, {
      hint: 'parameters are f32, or of the dtype of x; cast(x, dtype) converts',
    });
  }
}
