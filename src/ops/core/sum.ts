import { EliError } from '../../errors.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Storage } from '../../gpu/storage.ts';
import { broadcastShapes, type Shape, sameShape, showShape, withoutAxes } from '../../tensor/shape.ts';
import { type FloatDType, floatDType, Tensor } from '../../tensor/tensor.ts';
import { cast } from './cast.ts';
import { COPIES, caseOf, defineOp } from './define.ts';
import { reshape } from './layout.ts';
import { atBroadcast, build } from './ndarray.ts';
import { launchReduction, REDUCTION, type ReductionAxes, reductionReference } from './reduction.ts';
import { broadcastStrides } from './strided.ts';

/** Sums over some axes, which stay as dimensions of 1. Its gradient is `expand`, and the reverse. */
export const sumOp = defineOp<ReductionAxes>({
  name: 'sum',
  forward: ([x], { axes, dtype }) => launchReduction('sum', x!, axes, { kind: 'sum', dtype }),
  backward: ({ grad, inputs: [x] }) => [expand(cast(grad, floatDType('sum', x!)), x!.shape)],
  reference: ([x], { axes }) => reductionReference(x!, axes, 0, (sum, v) => sum + v),
  ...REDUCTION,
  // The cases have sums of up to 9,001 numbers of size 1.
  tolerance: { abs: 2e-4, rel: 2e-6 },
});

const expandOp = defineOp<{ shape: Shape }>({
  name: 'expand',
  forward: ([x], { shape }) => x!.view(shape, broadcastStrides(x!, shape), x!.offset),
  backward: ({ grad, inputs }) => [sumTo(grad, inputs[0]!.shape)],
  reference: ([x], { shape }) => build(shape, (index) => atBroadcast(x!, index)),
  cases: [caseOf({ shape: [2, 3, 5] }, [3, 1])],
  ...COPIES,
});

/** `x` repeated to `shape` by broadcasting. A view. */
export function expand(x: Tensor, shape: Shape): Tensor {
  if (!sameShape(broadcastShapes('expand', x.shape, shape), shape)) {
    throw new EliError('SHAPE', `expand: ${showShape(x.shape)} does not expand to ${showShape(shape)}`);
  }
  return sameShape(x.shape, shape) ? x : expandOp([x], { shape });
}

/** Sum over `axes`, which are dropped, as `dtype`: a sum of f16 taken as f32 is not rounded to f16. */
export function sumAs(x: Tensor, axes: readonly number[], dtype: FloatDType): Tensor {
  return reshape(sumOp([x], { axes, dtype }), withoutAxes(x.shape, axes));
}

/** Sums `x` down to `shape`: the gradient of broadcasting from `shape` to that of x. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const skip = x.rank - shape.length;
  const axes = [...x.shape.keys()].filter((d) => d < skip || (shape[d - skip] === 1 && x.shape[d] !== 1));
  return reshape(sumOp([x], { axes }), shape);
}

/** Writes the sum of x over its first dimension, as `dtype`, to the start of `target`. Not recorded on the tape. */
export function sumPartsInto(x: Tensor, target: Storage<Engine>, dtype: FloatDType): void {
  const y = new Tensor({ storage: target.retain(), shape: x.shape.with(0, 1), dtype });
  launchReduction('sum', x, [0], { kind: 'sum', dtype, into: y });
  y.dispose();
}
