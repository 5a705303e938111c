import { empty, launch1d, zeros } from '../tensor/create.ts';
import { broadcastShapes, sizeOf } from '../tensor/shape.ts';
import { floatDType, storedAs, type Tensor } from '../tensor/tensor.ts';
import { COPIES, caseOf, defineOp } from './core/define.ts';
import { mapBroadcast } from './core/ndarray.ts';
import { broadcastStrides, stridedParams } from './core/strided.ts';
import { sumTo } from './core/sum.ts';

const whereOp = defineOp<null>({
  name: 'where',
  forward: (xs) => {
    const [c, a, b] = xs;
    const dtype = floatDType('where', ...xs);
    const shape = xs.map((x) => x.shape).reduce((m, n) => broadcastShapes('where', m, n));
    const y = empty(c!.engine, shape, dtype);
    const strides = xs.map((x) => broadcastStrides(x, shape));
    const walk = stridedParams(shape, strides);
    launch1d(y.engine, 'elementwise/where.wgsl', y.size, {
      consts: storedAs({ Real: dtype }),
      overrides: { RANK: walk.rank },
      storages: [...xs, y].map((x) => x.storage),
      params: {
        shape: walk.shape,
        stride_c: walk.strides[0]!,
        stride_a: walk.strides[1]!,
        stride_b: walk.strides[2]!,
        n: y.size,
        offset_c: c!.offset,
        offset_a: a!.offset,
        offset_b: b!.offset,
      },
    });
    return y;
  },
  backward: ({ grad, inputs, needs }) => {
    const [condition, a, b] = inputs;
    const zero = zeros(grad.engine, [1], grad.dtype);
    return [
      undefined,
      needs[1] === true ? sumTo(where(condition!, grad, zero), a!.shape) : undefined,
      needs[2] === true ? sumTo(where(condition!, zero, grad), b!.shape) : undefined,
    ];
  },
  reference: (xs) => mapBroadcast('where', xs, (c, a, b) => (c !== 0 ? a! : b!)),
  cases: [
    caseOf(null, { shape: [7, 5], values: Array.from({ length: 35 }, (_, i) => i % 3) }, [7, 5], [5]),
    caseOf(null, { shape: [1], values: [1] }, [33, 1], [1, 3]),
  ],
  bench: [caseOf(null, [1 << 20], [1 << 20], [1 << 20])],
  ...COPIES,
  cost: (_, y) => ({ flops: 0, bytes: 16 * sizeOf(y) }),
});

/** a where `condition` ≠ 0 (NaN included), else b; all three broadcast. No gradient for the condition. */
export function where(condition: Tensor, a: Tensor, b: Tensor): Tensor {
  return whereOp([condition, a, b], null);
}
