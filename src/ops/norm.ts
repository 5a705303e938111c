import { isRecording } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import { launch1d } from '../tensor/create.ts';
import { expectShape, type Shape, showShape, sizeOf } from '../tensor/shape.ts';
import { checkDType, floatDType, type Tensor } from '../tensor/tensor.ts';
import { add, div, greater, mul, sub } from './binary.ts';
import { checkImage } from './conv-window.ts';
import { cast } from './core/cast.ts';
import { caseOf, defineOp } from './core/define.ts';
import type { NdArray } from './core/ndarray.ts';
import { toFloat } from './gather.ts';
import { launchBackward, launchMoments, launchNormalize, type NormAttrs, planes } from './norm-launch.ts';
import { mean, sum } from './reduce.ts';
import { affine, neg, relu, sqrt } from './unary.ts';
import { contiguous, reshape } from './views.ts';

/** Statistics that a normalisation accumulates in training and uses in evaluation: mean and variance are [channels]. */
export interface RunningStatistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
  /** Mini-batches seen: one number. */
  readonly batches: Tensor;
}

/** Settings of batch normalisation and of the operations fused with it. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
  /** Added after the normalisation, before the ReLU: the output of a shortcut, in the shape of `x`. */
  readonly residual?: Tensor | undefined;
  /** Whether to set negative results to 0. Default false. */
  readonly relu?: boolean;
}

const AXES = [0, 2, 3];

/** [channels] as [1, channels, 1, 1]. */
const perChannel = (t: Tensor): Tensor => reshape(t, [1, -1, 1, 1]);

/** The gradient before the ReLU. */
const beforeRelu = (dy: Tensor, y: Tensor, relu: boolean): Tensor =>
  relu ? mul(dy, greater(y, affine(y, 0, 0))) : dy;

/** (x - mean) / deviation of each channel, and the deviation √(variance + ε) [1, channels, 1, 1]. */
function standardised(x: Tensor, epsilon: number): { normalized: Tensor; deviation: Tensor } {
  const centred = sub(x, mean(x, AXES, true));
  const deviation = sqrt(affine(mean(mul(centred, centred), AXES, true), 1, epsilon));
  return { normalized: div(centred, deviation), deviation };
}

/** Scale, shift, the sum with the residual and the ReLU as separate ops. */
function finished(
  normalized: Tensor,
  [, weight, bias, residual]: readonly Tensor[],
  withRelu: boolean,
): Tensor {
  const y = add(mul(normalized, perChannel(weight)), perChannel(bias));
  const total = residual === undefined ? y : add(y, residual);
  return withRelu ? relu(total) : total;
}

/** The gradients of `launchBackward` made of ops, which compute in f32 and are differentiable. */
function composedBackward(
  dy: Tensor,
  [given, weight]: readonly Tensor[],
  y: Tensor,
  { epsilon, relu }: NormAttrs,
): Tensor[] {
  const dtype = floatDType('batchNorm', given);
  const x = toFloat(given);
  const h = beforeRelu(toFloat(dy), toFloat(y), relu);
  const { normalized, deviation } = standardised(x, epsilon);
  const dw = sum(mul(h, normalized), AXES, true);
  const inner = sub(h, add(mean(h, AXES, true), affine(mul(normalized, dw), x.shape[1] / x.size, 0)));
  const dx = mul(div(perChannel(weight), deviation), inner);
  return [cast(dx, dtype), reshape(dw, [-1]), sum(h, AXES), cast(h, dtype)];
}

/** The channel that flat element `i` of [n, c, h, w] lies in. */
const channelOf = ([, channels, height, width]: Shape, i: number): number =>
  Math.floor(i / (height * width)) % channels;

function referenceOf(
  [x, weight, bias, residual]: readonly NdArray[],
  momentsOf: (c: number) => [mean: number, variance: number],
  { epsilon, relu }: NormAttrs,
): NdArray {
  const moments = Array.from({ length: x.shape[1] }, (_, c) => momentsOf(c));
  const data = x.data.map((value, i) => {
    const c = channelOf(x.shape, i);
    const [center, variance] = moments[c];
    const scaled = ((value - center) / Math.sqrt(variance + epsilon)) * weight.data[c];
    const y = scaled + bias.data[c] + (residual?.data[i] ?? 0);
    return relu ? Math.max(y, 0) : y;
  });
  return { shape: x.shape, data };
}

function batchMoments(x: NdArray, c: number): [number, number] {
  const values = x.data.filter((_, i) => channelOf(x.shape, i) === c);
  const center = values.reduce((a, b) => a + b, 0) / values.length;
  return [center, values.reduce((a, v) => a + (v - center) ** 2, 0) / values.length];
}

/** ResNet-32's first stage at batch 32. */
const MAP: Shape = [32, 16, 32, 32];
const CHANNELS = { shape: [16], range: [0.5, 1.5] as const };
const cost = ([x]: readonly Shape[]) => ({ flops: 8 * sizeOf(x), bytes: 12 * sizeOf(x) });

/** Statistics of the mini-batch, by output: the backward pass and the running statistics need them. */
const statisticsOf = new WeakMap<Tensor, Tensor>();

const IMAGE = { shape: [4, 3, 5, 7], range: [-2, 3] as const };
const VECTOR = { shape: [3], range: [0.5, 1.5] as const };
const SHIFT: Shape = [3];

const batchNormOp = defineOp<NormAttrs>({
  name: 'batchNorm',
  dense: true,
  forward: (inputs, attrs) => {
    const stats = launchMoments(inputs[0]);
    // The mean and the variance of a channel are neighbours.
    const moments = [0, 1].map((at) => stats.view([stats.shape[0]], [2], at));
    const y = launchNormalize(inputs, moments, attrs);
    for (const view of moments) view.dispose();
    statisticsOf.set(y, stats);
    return y;
  },
  backward: ({ grad, inputs, output, attrs }) =>
    isRecording(grad.engine)
      ? composedBackward(grad, inputs, output, attrs)
      : launchBackward(contiguous(grad), inputs, statisticsOf.get(output)!, output, attrs),
  plain: (inputs, { epsilon, relu: withRelu }) =>
    finished(standardised(inputs[0], epsilon).normalized, inputs, withRelu),
  reference: (inputs, attrs) => referenceOf(inputs, (c) => batchMoments(inputs[0], c), attrs),
  cases: [
    caseOf({ epsilon: 1e-5, relu: false }, IMAGE, VECTOR, SHIFT),
    caseOf({ epsilon: 1e-5, relu: true }, IMAGE, VECTOR, SHIFT),
    caseOf({ epsilon: 1e-5, relu: true }, IMAGE, VECTOR, SHIFT, IMAGE),
    // A mean that is large beside the deviation.
    caseOf({ epsilon: 1e-5, relu: false }, { shape: [3, 2, 9, 9], range: [100, 102] }, [2], [2]),
    caseOf({ epsilon: 0.1, relu: false }, [2, 5, 1, 1], [5], [5], [2, 5, 1, 1]),
    caseOf({ epsilon: 1e-3, relu: true }, [1, 1, 33, 65], [1], [1]),
  ],
  bench: [
    caseOf({ epsilon: 1e-5, relu: true }, MAP, CHANNELS, CHANNELS),
    caseOf({ epsilon: 1e-5, relu: true }, MAP, CHANNELS, CHANNELS, MAP),
  ],
  half: [0, 3],
  // x near 100 has 24 bits, of which the normalised value keeps 17.
  tolerance: { abs: 5e-5, rel: 5e-5 },
  cost,
});

const batchNormEvalOp = defineOp<NormAttrs>({
  name: 'batchNormEval',
  dense: true,
  forward: ([x, weight, bias, center, variance, residual], attrs) =>
    launchNormalize([x, weight, bias, residual], [center, variance], attrs),
  backward: ({ grad, inputs: [x, weight, , center, variance, residual], output, attrs, needs }) => {
    const dtype = floatDType('batchNormEval', grad);
    const h = beforeRelu(toFloat(grad), toFloat(output), attrs.relu);
    const deviation = sqrt(affine(perChannel(variance), 1, attrs.epsilon));
    const scale = div(perChannel(weight), deviation);
    const normalized = (): Tensor => div(sub(toFloat(x), perChannel(center)), deviation);
    // ∂/∂var = -½ Σ h x̂ · w / (σ · σ)
    const perVariance = (): Tensor =>
      affine(mul(sum(mul(h, normalized()), AXES, true), div(scale, deviation)), -0.5, 0);
    return [
      needs[0] ? cast(mul(h, scale), dtype) : undefined,
      needs[1] ? sum(mul(h, normalized()), AXES) : undefined,
      needs[2] ? sum(h, AXES) : undefined,
      needs[3] ? reshape(neg(mul(sum(h, AXES, true), scale)), [-1]) : undefined,
      needs[4] ? reshape(perVariance(), [-1]) : undefined,
      residual === undefined ? undefined : cast(h, dtype),
    ];
  },
  plain: ([x, weight, bias, center, variance, residual], { epsilon, relu: withRelu }) => {
    const deviation = sqrt(affine(perChannel(variance), 1, epsilon));
    return finished(div(sub(x, perChannel(center)), deviation), [x, weight, bias, residual], withRelu);
  },
  reference: ([x, weight, bias, center, variance, residual], attrs) =>
    referenceOf([x, weight, bias, residual], (c) => [center.data[c], variance.data[c]], attrs),
  cases: [
    caseOf({ epsilon: 1e-5, relu: false }, IMAGE, VECTOR, SHIFT, SHIFT, VECTOR),
    caseOf({ epsilon: 1e-5, relu: true }, IMAGE, VECTOR, SHIFT, SHIFT, VECTOR, IMAGE),
    caseOf({ epsilon: 1e-5, relu: true }, [1, 1, 1, 1], [1], [1], [1], { shape: [1], values: [0.3] }),
  ],
  bench: [caseOf({ epsilon: 1e-5, relu: true }, MAP, CHANNELS, CHANNELS, CHANNELS, CHANNELS)],
  half: [0, 5],
  // f32 sums over planes, one division by a standard deviation; in gradients also differences of nearly equal sums.
  tolerance: { abs: 2e-5, rel: 1e-5 },
  cost,
});

/** Checks the operands of a normalisation and returns them dense: x, the vectors, then the residual if there is one. */
function operandsOf(
  op: string,
  x: Tensor,
  vectors: Readonly<Record<string, Tensor>>,
  residual: Tensor | undefined,
): Tensor[] {
  const rest = residual === undefined ? [] : [residual];
  checkImage(op, x);
  floatDType(op, x, ...rest);
  const channels = `one number per channel of x ${showShape(x.shape)}`;
  for (const [name, vector] of Object.entries(vectors)) {
    checkDType(op, vector, 'f32');
    expectShape(`${op}: ${name}`, vector.shape, [x.shape[1]], channels);
  }
  for (const r of rest)
    expectShape(`${op}: the residual`, r.shape, x.shape, 'it is added to the normalised x');
  return [x, ...Object.values(vectors), ...rest].map(contiguous);
}

/**
 * Normalises each channel of x [n, channels, height, width] by mean and biased variance of this mini-batch, then
 * scales by `weight` and adds `bias`, [channels] each (Ioffe and Szegedy, ICML 2015). The sum with `residual` and the
 * ReLU run in the same kernel. `running` is updated as in PyTorch: `momentum` is the share of the new statistics, and
 * the variance is unbiased. x and `residual` may be f16, and y is then f16; everything else is f32.
 * @throws EliError `SHAPE` or `DTYPE` naming the operand that does not fit; `ARGUMENT` when a channel has only one value
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  options: BatchNormOptions & { readonly running?: RunningStatistics; readonly momentum?: number } = {},
): Tensor {
  const { epsilon = 1e-5, relu = false, residual, running, momentum = 0.1 } = options;
  const inputs = operandsOf('batchNorm', x, { weight, bias }, residual);
  const { channels, count } = planes(x);
  if (count === 1) {
    throw new EliError(
      'ARGUMENT',
      `batchNorm: x ${showShape(x.shape)} has one value per channel, which has no variance`,
      { hint: 'use more than one image, or evaluation mode' },
    );
  }
  const y = batchNormOp(inputs, { epsilon, relu });
  if (running !== undefined) {
    launch1d(x.engine, 'norm/running.wgsl', channels, {
      storages: [statisticsOf.get(y)!, running.mean, running.variance, running.batches].map((t) => t.storage),
      params: { channels, momentum, unbiased: count / (count - 1) },
    });
  }
  return y;
}

/**
 * As `batchNorm`, with given statistics instead of those of the mini-batch: evaluation, or training with frozen statistics.
 * @throws EliError `SHAPE` or `DTYPE` naming the operand that does not fit
 */
export function batchNormEval(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  statistics: Pick<RunningStatistics, 'mean' | 'variance'>,
  { epsilon = 1e-5, relu = false, residual }: BatchNormOptions = {},
): Tensor {
  const { mean, variance } = statistics;
  const inputs = operandsOf('batchNormEval', x, { weight, bias, mean, variance }, residual);
  return batchNormEvalOp(inputs, { epsilon, relu });
}
