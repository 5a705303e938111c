import { EliError } from '../errors.ts';
import { faultNumber } from '../gpu/faults.ts';
import { empty } from '../tensor/create.ts';
import { showShape, sizeOf } from '../tensor/shape.ts';
import { checkDType, floatDType, type Tensor } from '../tensor/tensor.ts';
import { div, mul, sub } from './binary.ts';
import { cast } from './core/cast.ts';
import { caseOf, defineOp, EXP_LOG } from './core/define.ts';
import { build, valueAt } from './core/ndarray.ts';
import { gather } from './gather.ts';
import { mean, sum } from './reduce.ts';
import { logSoftmax, logSumExpRow, softmax } from './softmax.ts';
import { neg } from './unary.ts';
import { contiguous, reshape } from './views.ts';

/** Losses of the rows; if their gradient `grad` is given, the gradient of the logits instead. */
function launch(logits: Tensor, target: Tensor, grad?: Tensor): Tensor {
  const [rows, n] = logits.shape as [number, number];
  const y = empty(logits.engine, grad === undefined ? [rows] : [rows, n]);
  logits.engine.run('loss/cross_entropy.wgsl', {
    storages: [logits.storage, target.storage, (grad ?? logits).storage, y.storage],
    overrides: { BACKWARD: grad === undefined ? 0 : 1 },
    params: {
      rows,
      n,
      offset: logits.offset,
      offset_target: target.offset,
      offset_grad: grad?.offset ?? 0,
      stride_grad: grad?.strides[0] ?? 0,
      fault: faultNumber('crossEntropy'),
    },
    groups: [Math.ceil(rows / 64)],
  });
  return y;
}

const LOGITS = { shape: [7, 5], range: [-4, 4] as const };
const TARGET = { shape: [7], dtype: 'u32' as const, below: 5 };

const crossEntropyRows = defineOp<null>({
  name: 'crossEntropyRows',
  dense: true,
  forward: ([logits, target]) => launch(logits!, target!),
  backward: ({ grad, inputs: [logits, target] }) => [
    crossEntropyBackward([logits!, target!, grad], null),
    undefined,
  ],
  plain: ([logits, target]) => neg(pick(logSoftmax(logits!), target!)),
  reference: ([x, t]) =>
    build([x!.shape[0]!], ([r]) => logSumExpRow(x!, [r!, 0]) - valueAt(x!, [r!, t!.data[r!]!])),
  cases: [caseOf(null, LOGITS, TARGET)],
  bench: [caseOf(null, [8192, 100], { shape: [8192], dtype: 'u32', below: 100 })],
  tolerance: EXP_LOG,
  cost: ([x]) => ({ flops: 4 * sizeOf(x!), bytes: 4 * sizeOf(x!) }),
});

const crossEntropyBackward = defineOp<null>({
  name: 'crossEntropyBackward',
  dense: [0, 1],
  forward: ([logits, target, grad]) => launch(logits!, target!, grad),
  // With p = softmax and u the incoming gradient: ∂/∂logits = g p (u - Σ u p), ∂/∂g = Σ u (p - onehot).
  backward: ({ grad: u, inputs: [logits, target, g], needs }) => {
    const p = softmax(logits!);
    const up = sum(mul(u, p), -1, true);
    return [
      needs[0] === true ? mul(reshape(g!, [-1, 1]), mul(p, sub(u, up))) : undefined,
      undefined,
      needs[2] === true ? sub(reshape(up, g!.shape), pick(u, target!)) : undefined,
    ];
  },
  plain: ([logits, target, g]) =>
    mul(sub(softmax(logits!), oneHot(target!, logits!.shape[1]!)), reshape(g!, [-1, 1])),
  reference: ([x, t, g]) =>
    build(x!.shape, ([r, i]) => {
      const probability = Math.exp(valueAt(x!, [r!, i!]) - logSumExpRow(x!, [r!, i!]));
      return (probability - (t!.data[r!] === i ? 1 : 0)) * g!.data[r!]!;
    }),
  cases: [caseOf(null, LOGITS, TARGET, [7])],
  tolerance: EXP_LOG,
  cost: ([x]) => ({ flops: 5 * sizeOf(x!), bytes: 8 * sizeOf(x!) }),
});

/** x[r, index[r]] for each row: x [n, c] and index [n] (u32) → [n]. */
export function pick(x: Tensor, index: Tensor): Tensor {
  return sum(mul(x, oneHot(index, x.shape[1]!)), 1);
}

/** Rows of the identity: index [n] (u32) → [n, classes]; zeros for an index past the end. No gradient. */
export function oneHot(index: Tensor, classes: number): Tensor {
  checkDType('oneHot', index, 'u32');
  const eye = empty(index.engine, [classes, classes]);
  index.engine.run('gather/eye.wgsl', {
    storages: [eye.storage],
    params: { n: classes },
    groups: [Math.ceil((classes * classes) / 64)],
  });
  return gather(eye, index);
}

/**
 * Mean softmax cross-entropy of logits [n, classes] and target [n] (u32 class indices), a scalar. `weight` [classes]
 * makes it a weighted mean: each row has the weight of its target. A target outside 0..classes-1 makes the loss NaN,
 * and `engine.checkIndices` reports it.
 * Logits of f16 are cast: the loss is f32.
 * @throws EliError `SHAPE`, `DTYPE`.
 */
export function crossEntropy(logits: Tensor, target: Tensor, weight?: Tensor): Tensor {
  floatDType('crossEntropy', logits);
  checkDType('crossEntropy', target, 'u32');
  if (logits.rank !== 2 || target.rank !== 1 || target.shape[0] !== logits.shape[0]) {
    const shapes = `logits ${showShape(logits.shape)} and target ${showShape(target.shape)}`;
    throw new EliError('SHAPE', `crossEntropy: ${shapes} do not fit`, {
      hint: 'logits are [n, classes], targets [n]',
    });
  }
  const rows = crossEntropyRows([contiguous(cast(logits, 'f32')), contiguous(target)], null);
  if (weight === undefined) return mean(rows);
  const weights = reshape(gather(reshape(weight, [-1, 1]), target), [-1]);
  return div(sum(mul(rows, weights)), sum(weights));
}
