import { noGrad } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import { broadcastShapes, denseStrides, type Shape, sameShape, showShape, sizeOf } from '../tensor/shape.ts';
import { checkTensor, type FloatDType, floatDType, type Tensor } from '../tensor/tensor.ts';
import { add } from './core/arithmetic.ts';
import { cast, checkParameters } from './core/cast.ts';
import { defineOp, type Tolerance } from './core/define.ts';
import { atBroadcast, build } from './core/ndarray.ts';
import { broadcastStrides } from './core/strided.ts';
import { launchBest } from './core/variants.ts';
import { MATMUL, matmulProblem } from './matmul-launch.ts';
import { sumAs, sumTo } from './reduce.ts';
import { contiguous, transpose } from './views.ts';

/** f32 sums of up to a few hundred products of numbers near 1. */
const TOLERANCE: Tolerance = { abs: 2e-5, rel: 1e-5 };

function launch(a: Tensor, b: Tensor, bias: Tensor | undefined, batch: Shape, dtype: FloatDType): Tensor {
  const output = empty(a.engine, [...batch, a.shape.at(-2)!, b.shape.at(-1)!], dtype);
  launchBest(MATMUL, matmulProblem(a, b, bias, output, batch));
  return output;
}

interface Attrs {
  /** Of the result; default that of the operands. */
  readonly dtype?: FloatDType;
}

const matmulOp = defineOp<Attrs>({
  name: 'matmul',
  forward: ([a, b], { dtype = floatDType('matmul', a) }) => {
    floatDType('matmul', a, b);
    if (a.rank < 2 || b.rank < 2 || a.shape.at(-1) !== b.shape.at(-2)) {
      throw new EliError('SHAPE', `matmul: ${showShape(a.shape)} and ${showShape(b.shape)} do not multiply`, {
        hint: 'the last dimension of the first must equal the second-to-last of the second',
      });
    }
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    // The kernel walks two batch dimensions; more are merged by a copy.
    return batch.length <= 2 ? launch(a, b, undefined, batch, dtype) : launchManyBatches(a, b, batch, dtype);
  },
  backward: ({ grad: given, inputs: [a, b], needs }) => {
    const grad = cast(given, floatDType('matmul', a));
    return [
      needs[0] ? sumTo(matmul(grad, transpose(b)), a.shape) : undefined,
      needs[1] ? sumTo(matmul(transpose(a), grad), b.shape) : undefined,
    ];
  },
  reference: ([a, b]) => {
    const batch = broadcastShapes('matmul', a.shape.slice(0, -2), b.shape.slice(0, -2));
    const k = a.shape.at(-1)!;
    return build([...batch, a.shape.at(-2)!, b.shape.at(-1)!], (index) => {
      const head = index.slice(0, -2);
      let total = 0;
      for (let i = 0; i < k; i++) {
        total += atBroadcast(a, [...head, index.at(-2)!, i]) * atBroadcast(b, [...head, i, index.at(-1)!]);
      }
      return total;
    });
  },
  cases: [
    { inputs: [{ shape: [7, 33] }, { shape: [33, 5] }], attrs: {} },
    { inputs: [{ shape: [65, 17], transposed: true }, { shape: [17, 127] }], attrs: {} },
    { inputs: [{ shape: [1, 3] }, { shape: [3, 1], transposed: true }], attrs: {} },
    { inputs: [{ shape: [3, 5, 7] }, { shape: [7, 2] }], attrs: {} },
    { inputs: [{ shape: [2, 1, 5, 7] }, { shape: [3, 7, 4], transposed: true }], attrs: {} },
    { inputs: [{ shape: [2, 2, 2, 3, 4] }, { shape: [2, 1, 2, 4, 5] }], attrs: {} },
  ],
  half: true,
  tolerance: TOLERANCE,
  bench: [64, 256, 512, 1024].map((n) => ({ inputs: [{ shape: [n, n] }, { shape: [n, n] }], attrs: {} })),
  cost: ([a], c) => ({ flops: 2 * sizeOf(c) * a.at(-1)!, bytes: 4 * (sizeOf(a) + sizeOf(c)) }),
});

function launchManyBatches(a: Tensor, b: Tensor, batch: Shape, dtype: FloatDType): Tensor {
  const flat = (x: Tensor): Tensor => {
    const shape = [...batch, ...x.shape.slice(-2)];
    const wide = x.view(shape, broadcastStrides(x, shape), x.offset);
    const dense = contiguous(wide);
    return dense.view([sizeOf(batch), ...x.shape.slice(-2)], dense.strides.slice(-3), dense.offset);
  };
  const c = launch(flat(a), flat(b), undefined, [sizeOf(batch)], dtype);
  const shape = [...batch, ...c.shape.slice(-2)];
  return c.view(shape, denseStrides(shape), c.offset);
}

/**
 * Matrix product [..., m, k] × [..., k, n] → [..., m, n]; batch dimensions broadcast, transposed views cost nothing.
 * Operands and result are all f32 or all f16; sums are f32.
 * @throws EliError `SHAPE`, `DTYPE`.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  return matmulOp([a, b], {});
}

const linearOp = defineOp<null>({
  name: 'linear',
  forward: ([x, weight, bias]) => {
    const { engine } = x;
    const dtype = floatDType('linear', x);
    return engine.tidy(() =>
      noGrad(engine, () => launch(x, transpose(cast(weight, dtype)), cast(bias, dtype), [], dtype)),
    );
  },
  backward: ({ grad, inputs: [x, weight, bias], needs }) => [
    needs[0] ? matmul(grad, cast(weight, floatDType('linear', x))) : undefined,
    needs[1] ? matmulOp([transpose(grad), x], { dtype: floatDType('linear', weight) }) : undefined,
    needs[2] ? sumAs(grad, [0], floatDType('linear', bias)) : undefined,
  ],
  plain: ([x, weight, bias]) => add(matmul(x, transpose(weight)), bias),
  reference: ([x, weight, bias]) =>
    build([x.shape[0], weight.shape[0]], ([row, out]) => {
      let total = bias.data[out];
      for (let i = 0; i < x.shape[1]; i++) total += atBroadcast(x, [row, i]) * atBroadcast(weight, [out, i]);
      return total;
    }),
  cases: [
    { inputs: [{ shape: [7, 33] }, { shape: [5, 33] }, { shape: [5] }], attrs: null },
    { inputs: [{ shape: [1, 1] }, { shape: [1, 1] }, { shape: [1] }], attrs: null },
    { inputs: [{ shape: [33, 65] }, { shape: [129, 65] }, { shape: [129] }], attrs: null },
  ],
  half: true,
  tolerance: TOLERANCE,
  bench: [{ inputs: [{ shape: [128, 784] }, { shape: [512, 784] }, { shape: [512] }], attrs: null }],
  cost: ([x], y) => ({ flops: 2 * sizeOf(y) * x[1], bytes: 4 * (sizeOf(x) + sizeOf(y)) }),
});

/**
 * x Wᵀ + b: x [n, in], weight [out, in] (PyTorch's layout), bias [out] → [n, out]. With an x of f16 the result is f16,
 * and weight and bias may be f16, or f32 with gradients in f32.
 * @throws EliError `SHAPE` naming all three shapes, `DTYPE`.
 */
export function linear(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  for (const operand of [x, weight, bias]) checkTensor('linear: an operand', operand);
  const [inputs, outputs] = [x.shape[1], weight.shape[0]];
  if (x.rank !== 2 || !sameShape(weight.shape, [outputs, inputs]) || !sameShape(bias.shape, [outputs])) {
    throw new EliError(
      'SHAPE',
      `linear: x ${showShape(x.shape)}, weight ${showShape(weight.shape)} and bias ${showShape(bias.shape)} do not fit`,
      { hint: 'x is [n, in], weight [out, in], bias [out]' },
    );
  }
  checkParameters('linear', floatDType('linear', x), [weight, bias]);
  return linearOp([x, weight, contiguous(bias)], null);
}
