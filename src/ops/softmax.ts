import { detach } from '../autograd/tape.ts';
import { empty } from '../tensor/create.ts';
import { normalizeAxis, sizeOf, withoutAxes } from '../tensor/shape.ts';
import { checkDType, checkTensor, type Tensor } from '../tensor/tensor.ts';
import { add, div, mul, sub } from './binary.ts';
import { caseOf, defineOp, EXP_LOG, type OpDefinition } from './core/define.ts';
import { build, type NdArray, ravel, valueAt } from './core/ndarray.ts';
import { rowLayout } from './core/rows.ts';
import { max, sum } from './reduce.ts';
import { exp, log } from './unary.ts';
import { contiguous, permute, reshape } from './views.ts';

/** What shaders/reduce/softmax.wgsl computes, by its override KIND. */
export const SOFTMAX_CODES = { softmax: 0, logSoftmax: 1, logSumExp: 2 } as const;
type Kind = keyof typeof SOFTMAX_CODES;

/** Works along the last axis of a dense tensor, which logSumExp keeps as a dimension of 1. */
function launch(kind: Kind, x: Tensor): Tensor {
  checkDType(kind, x, 'f32');
  const n = x.shape.at(-1)!;
  const rows = x.size / n;
  const y = empty(x.engine, kind === 'logSumExp' ? x.shape.with(-1, 1) : x.shape);
  const { overrides, groups } = rowLayout(x.engine, rows, n);
  x.engine.run('reduce/softmax.wgsl', {
    storages: [x.storage, y.storage],
    overrides: { ...overrides, KIND: SOFTMAX_CODES[kind] },
    params: { rows, n, offset: x.offset },
    groups,
  });
  return y;
}

function rowOf(x: NdArray, index: readonly number[]): Float64Array {
  const base = ravel(x.shape, index.with(-1, 0));
  return x.data.subarray(base, base + x.shape.at(-1)!);
}

/** log Σ e^x of the row that `index` lies in, in float64. */
export function logSumExpRow(x: NdArray, index: readonly number[]): number {
  const row = rowOf(x, index);
  const largest = Math.max(...row);
  return largest + Math.log(row.reduce((total, v) => total + Math.exp(v - largest), 0));
}

/** The largest element of each row; rows are shifted by it, so its gradient cancels. */
const largestOf = (x: Tensor): Tensor => detach(max(x, -1, true));

/** Defines the op of a kind along the last axis; the result applies it along any. */
function rowOp(
  kind: Kind,
  definition: Pick<OpDefinition<null>, 'backward' | 'plain' | 'reference' | 'cost'>,
): (x: Tensor, axis?: number) => Tensor {
  const op = defineOp<null>({
    name: kind,
    dense: true,
    forward: ([x]) => launch(kind, x!),
    ...definition,
    cases: [
      caseOf(null, { shape: [7, 5], range: [-4, 4] }),
      caseOf(null, { shape: [3, 129], range: [-4, 4] }),
      caseOf(null, [33, 1]),
      // Large logits: no overflow.
      caseOf(null, { shape: [2, 3], values: [1000, 999, 998, -1000, -1001, 80] }),
    ],
    bench: [caseOf(null, [1024, 1024]), caseOf(null, [8192, 10])],
    tolerance: EXP_LOG,
  });
  return (x, axis = -1) => {
    checkTensor(`${kind}: x`, x);
    const last = x.rank - 1;
    const target = normalizeAxis(kind, axis, x.shape);
    if (target === last) return op([contiguous(x)], null);
    const swap = [...x.shape.keys()].with(target, last).with(last, target);
    return permute(op([contiguous(permute(x, swap))], null), swap);
  };
}

/** e^x / Σ e^x along `axis` (by default the last), without overflow; shape of x. */
export const softmax: (x: Tensor, axis?: number) => Tensor = rowOp('softmax', {
  backward: ({ grad, output: y }) => [mul(y, sub(grad, sum(mul(grad, y), -1, true)))],
  plain: ([x]) => {
    const powers = exp(sub(x!, largestOf(x!)));
    return div(powers, sum(powers, -1, true));
  },
  reference: ([x]) => build(x!.shape, (index) => Math.exp(valueAt(x!, index) - logSumExpRow(x!, index))),
  cost: ([x]) => ({ flops: 4 * sizeOf(x!), bytes: 8 * sizeOf(x!) }),
});

/** log softmax along `axis` (by default the last); shape of x. */
export const logSoftmax: (x: Tensor, axis?: number) => Tensor = rowOp('logSoftmax', {
  backward: ({ grad, output: y }) => [sub(grad, mul(exp(y), sum(grad, -1, true)))],
  plain: ([x]) => {
    const shifted = sub(x!, largestOf(x!));
    return sub(shifted, log(sum(exp(shifted), -1, true)));
  },
  reference: ([x]) => build(x!.shape, (index) => valueAt(x!, index) - logSumExpRow(x!, index)),
  cost: ([x]) => ({ flops: 4 * sizeOf(x!), bytes: 8 * sizeOf(x!) }),
});

const logSumExpOp = rowOp('logSumExp', {
  backward: ({ grad, inputs: [x] }) => [mul(grad, softmax(x!))],
  plain: ([x]) => {
    const largest = largestOf(x!);
    return add(log(sum(exp(sub(x!, largest)), -1, true)), largest);
  },
  reference: ([x]) =>
    build(x!.shape.with(-1, 1), (index) => {
      const largest = Math.max(...rowOf(x!, index));
      return Math.abs(largest) === Number.POSITIVE_INFINITY ? largest : logSumExpRow(x!, index);
    }),
  cost: ([x]) => ({ flops: 3 * sizeOf(x!), bytes: 4 * sizeOf(x!) }),
});

/** log Σ e^x along `axis`; that axis is dropped. */
export function logSumExp(x: Tensor, axis = -1): Tensor {
  checkTensor('logSumExp: x', x);
  const dropped = normalizeAxis('logSumExp', axis, x.shape);
  return reshape(logSumExpOp(x, axis), withoutAxes(x.shape, [dropped]));
}
