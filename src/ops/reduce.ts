import { empty, launch1d } from '../tensor/create.ts';
import { normalizeAxes, normalizeAxis, withoutAxes } from '../tensor/shape.ts';
import { checkTensor, floatDType, storedAs, type Tensor } from '../tensor/tensor.ts';
import { equal } from './binary.ts';
import { affine, div, mul } from './core/arithmetic.ts';
import { COPIES, caseOf, defineOp, EXACT, type Op } from './core/define.ts';
import { contiguous, reshape } from './core/layout.ts';
import { atBroadcast, build, mapped } from './core/ndarray.ts';
import { launchReduction, REDUCTION, type ReductionAxes, reductionReference } from './core/reduction.ts';
import { expand, sumOp } from './core/sum.ts';
import { permute } from './views.ts';

export { sumAs, sumPartsInto, sumTo } from './core/sum.ts';

const meanOp = defineOp<ReductionAxes>({
  name: 'mean',
  forward: ([x], { axes }) => {
    const count = axes.reduce((product, axis) => product * x!.shape[axis]!, 1);
    return launchReduction('mean', x!, axes, { kind: 'sum', scale: 1 / count });
  },
  backward: ({ grad, inputs, output }) => [
    affine(expand(grad, inputs[0]!.shape), output.size / inputs[0]!.size, 0),
  ],
  plain: ([x], attrs) => {
    const total = sumOp([x!], attrs);
    return affine(total, total.size / x!.size, 0);
  },
  reference: ([x], { axes }) => {
    const total = reductionReference(x!, axes, 0, (sum, v) => sum + v);
    return mapped(total, (v) => (v * total.data.length) / x!.data.length);
  },
  ...REDUCTION,
  tolerance: { abs: 2e-6, rel: 2e-6 },
});

const maxOp = defineOp<ReductionAxes>({
  name: 'max',
  forward: ([x], { axes }) => launchReduction('max', x!, axes, { kind: 'max' }),
  // Equal maxima share the gradient evenly (PyTorch's amax).
  backward: ({ grad, inputs, output, attrs }) => {
    const mask = equal(inputs[0]!, output);
    return [mul(mask, div(grad, sumOp([mask], attrs)))];
  },
  reference: ([x], { axes }) => reductionReference(x!, axes, Number.NEGATIVE_INFINITY, Math.max),
  ...REDUCTION,
  tolerance: EXACT,
});

type Reduction = (x: Tensor, axes?: number | readonly number[], keepDims?: boolean) => Tensor;

function reduction(name: string, op: Op<ReductionAxes>): Reduction {
  return (x, axes, keepDims = false) => {
    checkTensor(`${name}: x`, x);
    const list = normalizeAxes(name, axes, x.shape);
    const y = op([x], { axes: list });
    return keepDims ? y : reshape(y, withoutAxes(x.shape, list));
  };
}

/**
 * Sum along `axes` (default: all), which are dropped unless `keepDims`. The order is fixed, so results are the same bit
 * for bit. Sums and means of f16 are computed in f32 and stored as f16.
 */
export const sum: Reduction = reduction('sum', sumOp);
/** Mean along `axes`, otherwise like `sum`. */
export const mean: Reduction = reduction('mean', meanOp);
/** Largest element along `axes`, NaN where there is one; equal maxima share the gradient evenly. */
export const max: Reduction = reduction('max', maxOp);

const argmaxOp = defineOp<null>({
  name: 'argmax',
  dense: true,
  forward: ([x]) => {
    const dtype = floatDType('argmax', x!);
    const n = x!.shape.at(-1)!;
    const y = empty(x!.engine, x!.shape.slice(0, -1), 'u32');
    launch1d(x!.engine, 'reduce/argmax.wgsl', y.size, {
      consts: storedAs({ Real: dtype }),
      storages: [x!.storage, y.storage],
      params: { rows: y.size, n, offset: x!.offset },
    });
    return y;
  },
  reference: ([x]) =>
    build(x!.shape.slice(0, -1), (index) => {
      const row = Array.from({ length: x!.shape.at(-1)! }, (_, i) => atBroadcast(x!, [...index, i]));
      const largest = Math.max(...row);
      return row.findIndex((v) => Object.is(v, largest) || v === largest);
    }),
  cases: [caseOf(null, [129, 5]), caseOf(null, { shape: [2, 3], values: [1, 4, 4, 2, 2, 2] })],
  ...COPIES,
});

/** Index (u32) of the first NaN along `axis`, else of the first of the largest elements. No gradient. */
export function argmax(x: Tensor, axis = -1): Tensor {
  checkTensor('argmax: x', x);
  const at = normalizeAxis('argmax', axis, x.shape);
  const order = [...x.shape.keys()].filter((d) => d !== at).concat(at);
  return argmaxOp([contiguous(at === x.rank - 1 ? x : permute(x, order))], null);
}
