import { isRecording } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import { launch1d } from '../tensor/create.ts';
import { type Shape, showShape, sizeOf } from '../tensor/shape.ts';
import { checkDType, floatDType, type Tensor } from '../tensor/tensor.ts';
import { add, div, greater, mul, sub } from './binary.ts';
import { checkImage } from './conv-window.ts';
import { cast } from './core/cast.ts';
import { caseOf, defineOp, type Tolerance } from './core/define.ts';
import { build, type NdArray, ravel } from './core/ndarray.ts';
import { toFloat } from './gather.ts';
import { launchBackward, launchMoments, launchNormalize, type NormAttrs, planes } from './norm-launch.ts';
import { mean, sum } from './reduce.ts';
import { affine, neg, relu, sqrt } from './unary.ts';
import { contiguous, reshape } from './views.ts';

/** Statistics that a normalisation keeps while it trains, and evaluates with; each [channels] but the last. */
export interface RunningStatistics {
  readonly mean: Tensor;
  readonly variance: Tensor;
  /** Minibatches seen, one number. */
  readonly batches: Tensor;
}

/** Settings of batch normalisation, and what is fused with it. */
export interface BatchNormOptions {
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
  /** Added after the normalisation, before the ReLU: what a shortcut around the layer brings, in the shape of `x`. */
  readonly residual?: Tensor | undefined;
  /** Whether negative results become 0. Default false. */
  readonly relu?: boolean;
}

const AXES = [0, 2, 3];
/** f32 sums over planes, one division by a standard deviation; of gradients also differences of nearly equal sums. */
const TOLERANCE: Tolerance = { abs: 2e-5, rel: 1e-5 };

/** [channels] as [1, channels, 1, 1]. */
const perChannel = (t: Tensor): Tensor => reshape(t, [1, -1, 1, 1]);

/** What the output's gradient is before the ReLU. */
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
  weight: Tensor,
  bias: Tensor,
  residual: Tensor | undefined,
  withRelu: boolean,
): Tensor {
  const y = add(mul(normalized, perChannel(weight)), perChannel(bias));
  const total = residual === undefined ? y : add(y, residual);
  return withRelu ? relu(total) : total;
}

/** The same gradients made of ops, which compute in f32. */
function composedBackward(
  dy: Tensor,
  given: Tensor,
  weight: Tensor,
  y: Tensor,
  { epsilon, relu }: NormAttrs,
): [Tensor, Tensor, Tensor, Tensor] {
  const dtype = floatDType('batchNorm', given);
  const x = toFloat(given);
  const h = beforeRelu(toFloat(dy), toFloat(y), relu);
  const { normalized, deviation } = standardised(x, epsilon);
  const dw = sum(mul(h, normalized), AXES, true);
  const inner = sub(h, add(mean(h, AXES, true), affine(mul(normalized, dw), x.shape[1]! / x.size, 0)));
  const dx = mul(div(perChannel(weight), deviation), inner);
  return [cast(dx, dtype), reshape(dw, [-1]), sum(h, AXES), cast(h, dtype)];
}

function referenceOf(
  x: NdArray,
  weight: NdArray,
  bias: NdArray,
  residual: NdArray | undefined,
  moments: (c: number) => [mean: number, variance: number],
  { epsilon, relu }: NormAttrs,
): NdArray {
  const channels = Array.from({ length: x.shape[1]! }, (_, c) => moments(c));
  return build(x.shape, (index) => {
    const c = index[1]!;
    const [center, variance] = channels[c]!;
    const at = ravel(x.shape, index);
    const y =
      ((x.data[at]! - center) / Math.sqrt(variance + epsilon)) * weight.data[c]! +
      bias.data[c]! +
      (residual?.data[at] ?? 0);
    return relu ? Math.max(y, 0) : y;
  });
}

function batchMoments(x: NdArray, c: number): [number, number] {
  const values: number[] = [];
  const plane = x.shape[2]! * x.shape[3]!;
  for (let n = 0; n < x.shape[0]!; n++) {
    const start = (n * x.shape[1]! + c) * plane;
    values.push(...x.data.subarray(start, start + plane));
  }
  const center = values.reduce((a, b) => a + b, 0) / values.length;
  return [center, values.reduce((a, v) => a + (v - center) ** 2, 0) / values.length];
}

/** ResNet-32's first stage at batch 32. */
const MAP: Shape = [32, 16, 32, 32];
const CHANNELS = { shape: [16], range: [0.5, 1.5] as const };
const cost = ([x]: readonly Shape[]) => ({ flops: 8 * sizeOf(x!), bytes: 12 * sizeOf(x!) });

/** Statistics of the minibatch that an output was normalised with: its backward pass and the running ones want them. */
const statisticsOf = new WeakMap<Tensor, Tensor>();

const IMAGE = { shape: [4, 3, 5, 7], range: [-2, 3] as const };
const VECTOR = { shape: [3], range: [0.5, 1.5] as const };
const SHIFT: Shape = [3];

const batchNormOp = defineOp<NormAttrs>({
  name: 'batchNorm',
  dense: true,
  forward: ([x, weight, bias, residual], attrs) => {
    const stats = launchMoments(x!);
    const moments = { mean: stats, variance: stats, offsets: [0, 1], stride: 2 } as const;
    const y = launchNormalize(x!, weight!, bias!, moments, residual, attrs);
    statisticsOf.set(y, stats);
    return y;
  },
  backward: ({ grad, inputs: [x, weight, , residual], output, attrs }) =>
    isRecording(grad.engine)
      ? composedBackward(grad, x!, weight!, output, attrs)
      : launchBackward(
          contiguous(grad),
          x!,
          weight!,
          statisticsOf.get(output)!,
          output,
          residual !== undefined,
          attrs,
        ),
  plain: ([x, weight, bias, residual], attrs) =>
    finished(standardised(x!, attrs.epsilon).normalized, weight!, bias!, residual, attrs.relu),
  reference: ([x, weight, bias, residual], attrs) =>
    referenceOf(x!, weight!, bias!, residual, (c) => batchMoments(x!, c), attrs),
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
    launchNormalize(
      x!,
      weight!,
      bias!,
      { mean: center!, variance: variance!, offsets: [center!.offset, variance!.offset], stride: 1 },
      residual,
      attrs,
    ),
  backward: ({ grad, inputs: [x, weight, , center, variance, residual], output, attrs, needs }) => {
    const dtype = floatDType('batchNormEval', grad);
    const h = beforeRelu(toFloat(grad), toFloat(output), attrs.relu);
    const deviation = sqrt(affine(perChannel(variance!), 1, attrs.epsilon));
    const scale = div(perChannel(weight!), deviation);
    const normalized = (): Tensor => div(sub(toFloat(x!), perChannel(center!)), deviation);
    // ∂/∂var = -½ Σ h x̂ · w / (σ · σ)
    const perVariance = (): Tensor =>
      affine(mul(sum(mul(h, normalized()), AXES, true), div(scale, deviation)), -0.5, 0);
    return [
      needs[0] === true ? cast(mul(h, scale), dtype) : undefined,
      needs[1] === true ? sum(mul(h, normalized()), AXES) : undefined,
      needs[2] === true ? sum(h, AXES) : undefined,
      needs[3] === true ? reshape(neg(mul(sum(h, AXES, true), scale)), [-1]) : undefined,
      needs[4] === true ? reshape(perVariance(), [-1]) : undefined,
      residual === undefined ? undefined : cast(h, dtype),
    ];
  },
  plain: ([x, weight, bias, center, variance, residual], { epsilon, relu: withRelu }) => {
    const deviation = sqrt(affine(perChannel(variance!), 1, epsilon));
    return finished(div(sub(x!, perChannel(center!)), deviation), weight!, bias!, residual, withRelu);
  },
  reference: ([x, weight, bias, center, variance, residual], attrs) =>
    referenceOf(x!, weight!, bias!, residual, (c) => [center!.data[c]!, variance!.data[c]!], attrs),
  cases: [
    caseOf({ epsilon: 1e-5, relu: false }, IMAGE, VECTOR, SHIFT, SHIFT, VECTOR),
    caseOf({ epsilon: 1e-5, relu: true }, IMAGE, VECTOR, SHIFT, SHIFT, VECTOR, IMAGE),
    caseOf({ epsilon: 1e-5, relu: true }, [1, 1, 1, 1], [1], [1], [1], { shape: [1], values: [0.3] }),
  ],
  bench: [caseOf({ epsilon: 1e-5, relu: true }, MAP, CHANNELS, CHANNELS, CHANNELS, CHANNELS)],
  half: [0, 5],
  tolerance: TOLERANCE,
  cost,
});

function check(op: string, x: Tensor, vectors: Record<string, Tensor>, residual: Tensor | undefined): void {
  checkImage(op, x);
  floatDType(op, x, ...(residual === undefined ? [] : [residual]));
  for (const [name, vector] of Object.entries(vectors)) {
    checkDType(op, vector, 'f32');
    if (vector.rank !== 1 || vector.shape[0] !== x.shape[1]) {
      throw new EliError(
        'SHAPE',
        `${op}: ${name} is ${showShape(vector.shape)}, should be [${x.shape[1]}], one number a channel of x ${showShape(x.shape)}`,
      );
    }
  }
  if (residual !== undefined && showShape(residual.shape) !== showShape(x.shape)) {
    throw new EliError(
      'SHAPE',
      `${op}: the residual is ${showShape(residual.shape)}, x ${showShape(x.shape)}`,
      { hint: 'their sum needs the same shape' },
    );
  }
}

/**
 * Normalises each channel of x [n, channels, height, width] by mean and biased variance of this minibatch, then
 * scales by `weight` and adds `bias`, [channels] each (Ioffe and Szegedy, ICML 2015). With `residual` and `relu` the sum
 * with the residual and the ReLU are done in the same kernel. `running` is updated, with `momentum` as the share of
 * the new statistics and the variance unbiased, as PyTorch does. x and `residual` may be f16, and y is then; all else is f32.
 *
 * @throws EliError `SHAPE` or `DTYPE` naming what does not fit; `ARGUMENT` when a channel has one value only
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  options: BatchNormOptions & { readonly running?: RunningStatistics; readonly momentum?: number } = {},
): Tensor {
  const { epsilon = 1e-5, relu = false, residual, running, momentum = 0.1 } = options;
  check('batchNorm', x, { weight, bias }, residual);
  const { channels, count } = planes(x);
  if (count === 1) {
    throw new EliError(
      'ARGUMENT',
      `batchNorm: x ${showShape(x.shape)} has one value a channel, which has no variance`,
      { hint: 'use more than one image, or evaluation mode' },
    );
  }
  const inputs = [x, weight, bias, ...(residual === undefined ? [] : [residual])].map(contiguous);
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
 * The same with given statistics instead of the minibatch's: evaluation, and training with frozen statistics.
 * @throws EliError `SHAPE` or `DTYPE` naming what does not fit
 */
export function batchNormEval(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  { mean: center, variance }: Pick<RunningStatistics, 'mean' | 'variance'>,
  options: BatchNormOptions = {},
): Tensor {
  const { epsilon = 1e-5, relu = false, residual } = options;
  check('batchNormEval', x, { weight, bias, mean: center, variance }, residual);
  const inputs = [x, weight, bias, center, variance, ...(residual === undefined ? [] : [residual])].map(
    contiguous,
  );
  return batchNormEvalOp(inputs, { epsilon, relu });
}
