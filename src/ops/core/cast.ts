import { EliError } from '../../errors.ts';
import { empty, launch1d } from '../../tensor/create.ts';
import { sizeOf } from '../../tensor/shape.ts';
import { checkTensor, type FloatDType, isFloat, storedAs, type Tensor } from '../../tensor/tensor.ts';
import { COPIES, caseOf, defineOp } from './define.ts';
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
  cases: [caseOf({ dtype: 'f32' }, [129])],
  bench: [caseOf({ dtype: 'f32' }, { shape: [1 << 20], below: 1000 })],
  ...COPIES,
  cost: ([x]) => ({ flops: 0, bytes: 8 * sizeOf(x!) }),
});

/**
 * x converted to f32 or f16, or x itself if it has that dtype. Conversion to f16 rounds, on most adapters to nearest,
 * and overflows to infinity from 65,520 on; whole numbers (u32, i32) are exact up to 2^24. The gradient is cast back.
 * @throws EliError `DTYPE` for f16 on an adapter without it
 */
export function cast(x: Tensor, dtype: FloatDType): Tensor {
  checkTensor('cast: x', x);
  return x.dtype === dtype ? x : castOp([contiguous(x)], { dtype });
}

/** @throws EliError `DTYPE` unless each parameter of an op whose x is of `dtype` is f32 or of that dtype. */
export function checkParameters(op: string, dtype: FloatDType, parameters: readonly Tensor[]): void {
  for (const parameter of parameters) {
    if (parameter.dtype === 'f32' || parameter.dtype === dtype) continue;
    throw new EliError('DTYPE', `${op}: ${parameter.toString()} beside an x of ${dtype}`, {
      hint: 'parameters are f32, or of the dtype of x; cast(x, dtype) converts',
    });
  }
}
