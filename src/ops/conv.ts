import { noGrad } from '../autograd/tape.ts';
import { expectShape, type Shape, showShape, sizeOf } from '../tensor/shape.ts';
import { checkTensor, type FloatDType, floatDType, type Tensor } from '../tensor/tensor.ts';
import { add } from './binary.ts';
import { type ConvAttrs, launchConv, launchConvInputGrad, launchConvWeightGrad } from './conv-launch.ts';
import { checkGroups, checkImage, type Pair, pair, windowOutput } from './conv-window.ts';
import { cast, checkParameters } from './core/cast.ts';
import { caseOf, defineOp, type Tolerance } from './core/define.ts';
import { build, ndarray } from './core/ndarray.ts';
import { matmul } from './matmul.ts';
import { sumAs } from './reduce.ts';
import { contiguous, reshape, transpose } from './views.ts';

/** Settings of a convolution; the defaults are PyTorch's. */
export interface Conv2dOptions {
  /** Default 1. */
  readonly stride?: Pair;
  /** Zeros around the image. Default 0. */
  readonly padding?: Pair;
  /** Distance between the taps of the kernel. Default 1. */
  readonly dilation?: Pair;
  /** Output channels of group g use only the input channels of group g. Default 1. */
  readonly groups?: number;
}

/** f32 sums of up to a few hundred products of numbers up to 4, in another order than the reference. */
const TOLERANCE: Tolerance = { abs: 5e-5, rel: 1e-5 };

/** A 1×1 convolution of stride 1 is a matrix product per image; all others use the window kernels. */
function isPointwise(kernel: readonly number[], { stride, padding, groups }: ConvAttrs): boolean {
  const one = [...kernel, ...stride].every((n) => n === 1);
  return one && padding.every((n) => n === 0) && groups === 1;
}

/** [n, c, h, w] as [n, c, h · w]. */
function flatImage(x: Tensor): Tensor {
  return reshape(x, [x.shape[0], x.shape[1], -1]);
}

function flatWeight(weight: Tensor): Tensor {
  return reshape(weight, weight.shape.slice(0, 2));
}

/** The result of `fn` for weight and bias in the dtype of x; their copies are freed when `fn` returns. */
function inDTypeOf(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  fn: (weight: Tensor, bias: Tensor | undefined) => Tensor,
): Tensor {
  const { engine } = x;
  const dtype = floatDType('conv2d', x);
  return engine.tidy(() => noGrad(engine, () => fn(cast(weight, dtype), bias && cast(bias, dtype))));
}

/** Calls `visit` with the flat indices into output, input and weight for each product of a convolution. */
function eachProduct(
  x: Shape,
  weight: Shape,
  y: Shape,
  { stride, padding, dilation, groups }: ConvAttrs,
  visit: (y: number, x: number, w: number) => void,
): void {
  const [n, channels, height, width] = x;
  const [outputs, perGroup, kh, kw] = weight;
  const [, , oh, ow] = y;
  for (let image = 0; image < n; image++) {
    for (let o = 0; o < outputs; o++) {
      const firstChannel = Math.floor(o / (outputs / groups)) * perGroup;
      for (let oy = 0; oy < oh; oy++) {
        for (let ox = 0; ox < ow; ox++) {
          const at = ((image * outputs + o) * oh + oy) * ow + ox;
          for (let c = 0; c < perGroup; c++) {
            for (let ky = 0; ky < kh; ky++) {
              for (let kx = 0; kx < kw; kx++) {
                const iy = oy * stride[0] - padding[0] + ky * dilation[0];
                const ix = ox * stride[1] - padding[1] + kx * dilation[1];
                if (iy < 0 || ix < 0 || iy >= height || ix >= width) continue;
                const from = ((image * channels + firstChannel + c) * height + iy) * width + ix;
                visit(at, from, ((o * perGroup + c) * kh + ky) * kw + kx);
              }
            }
          }
        }
      }
    }
  }
}

function outputShape(x: Shape, weight: Shape, attrs: ConvAttrs): [number, number, number, number] {
  const kernel = [weight[2], weight[3]] as const;
  return [x[0], weight[0], ...windowOutput('conv2d', x, { ...attrs, kernel })];
}

const flops = (weight: Shape, y: Shape): number => 2 * sizeOf(y) * sizeOf(weight.slice(1));
const bytes = (...shapes: Shape[]): number => 4 * shapes.reduce((total, shape) => total + sizeOf(shape), 0);

type Convolution = readonly [x: Shape, weight: Shape, attrs: ConvAttrs];

function convolution(x: Shape, weight: Shape, attrs: Partial<ConvAttrs> = {}): Convolution {
  return [x, weight, { stride: [1, 1], padding: [0, 0], dilation: [1, 1], groups: 1, ...attrs }];
}

/** Test cases of the three ops. */
const CASES = [
  convolution([2, 3, 7, 9], [5, 3, 3, 3], { padding: [1, 1] }),
  // Stride larger than the kernel: some pixels are never read.
  convolution([2, 2, 9, 8], [3, 2, 2, 1], { stride: [3, 4] }),
  // Depthwise, and groups of several channels, batch 1.
  convolution([1, 5, 6, 7], [5, 1, 3, 3], { stride: [2, 2], padding: [1, 1], groups: 5 }),
  convolution([1, 4, 5, 6], [6, 2, 3, 2], { stride: [2, 1], padding: [2, 0], dilation: [1, 2], groups: 2 }),
  // Stride and dilation with a common divisor: whole rows of the input gradient meet no tap.
  convolution([2, 2, 11, 9], [3, 2, 3, 3], { stride: [2, 3], padding: [1, 2], dilation: [2, 2] }),
  // Pointwise, with enough positions for several partial sums of the weight gradient.
  convolution([3, 3, 27, 29], [2, 3, 1, 1]),
  // Images of one pixel, also under a padded window.
  convolution([1, 1, 1, 1], [1, 1, 1, 1]),
  convolution([3, 2, 1, 1], [4, 2, 3, 3], { padding: [1, 1] }),
  convolution([1, 17, 5, 4], [33, 17, 3, 3], { padding: [1, 1] }),
];

/** Convolutions of ResNet-32 at batch 32, and one of ResNet-50: 1×1, 256 → 64. */
const BENCH = [
  convolution([32, 16, 32, 32], [16, 16, 3, 3], { padding: [1, 1] }),
  convolution([32, 32, 16, 16], [32, 32, 3, 3], { padding: [1, 1] }),
  convolution([32, 64, 8, 8], [64, 64, 3, 3], { padding: [1, 1] }),
  convolution([2, 256, 56, 56], [64, 256, 1, 1]),
];

const conv2dOp = defineOp<ConvAttrs>({
  name: 'conv2d',
  dense: true,
  forward: ([x, weight, bias], attrs) => {
    const out = outputShape(x.shape, weight.shape, attrs);
    return inDTypeOf(x, weight, bias, (w, b) => {
      // Adding a bias to an f16 product would round it a second time: the window kernel adds it before rounding.
      const roundsTwice = b?.dtype === 'f16';
      if (roundsTwice || !isPointwise(w.shape.slice(2), attrs))
        return launchConv(x, w, b, [out[2], out[3]], attrs);
      const y = matmul(flatWeight(w), flatImage(x));
      return reshape(b === undefined ? y : add(y, reshape(b, [-1, 1])), out);
    });
  },
  backward: ({ grad, inputs: [x, weight, bias], attrs, needs }) => [
    needs[0] ? conv2dInputGrad(grad, weight, x.shape, attrs) : undefined,
    needs[1] ? conv2dWeightGrad(grad, x, weight, attrs) : undefined,
    // Within planes first: they are dense.
    needs[2] ? sumAs(sumAs(flatImage(grad), [2], 'f32'), [0], floatDType('conv2d', bias)) : undefined,
  ],
  reference: ([x, weight, bias], attrs) => {
    const y = build(outputShape(x.shape, weight.shape, attrs), ([, o]) => bias?.data[o] ?? 0);
    eachProduct(x.shape, weight.shape, y.shape, attrs, (at, from, w) => {
      y.data[at] += x.data[from] * weight.data[w];
    });
    return y;
  },
  cases: [
    ...CASES.map(([x, weight, attrs]) => caseOf(attrs, x, weight, [weight[0]])),
    ...CASES.slice(0, 1).map(([x, weight, attrs]) => caseOf(attrs, x, weight)),
  ],
  half: true,
  tolerance: TOLERANCE,
  bench: BENCH.map(([x, weight, attrs]) => caseOf(attrs, x, weight)),
  cost: ([x, weight], y) => ({ flops: flops(weight, y), bytes: bytes(x, weight, y) }),
});

interface InputGradAttrs extends ConvAttrs {
  /** Height and width of the input. */
  readonly size: readonly [number, number];
}

const inputGradCase = ([x, weight, attrs]: Convolution) =>
  caseOf({ ...attrs, size: [x[2], x[3]] as const }, outputShape(x, weight, attrs), weight);

const inputGradOp = defineOp<InputGradAttrs>({
  name: 'conv2dInputGrad',
  dense: true,
  forward: ([grad, weight], attrs) => {
    const [n, , height, width] = inputShape(grad.shape, weight.shape, attrs);
    return inDTypeOf(grad, weight, undefined, (w) => {
      if (!isPointwise(w.shape.slice(2), attrs)) return launchConvInputGrad(grad, w, [height, width], attrs);
      const gx = matmul(transpose(flatWeight(w)), flatImage(grad));
      return reshape(gx, [n, w.shape[1], height, width]);
    });
  },
  backward: ({ grad, inputs: [gradOut, weight], attrs, needs }) => [
    needs[0] ? conv2dOp([contiguous(grad), weight], attrs) : undefined,
    needs[1] ? conv2dWeightGrad(gradOut, grad, weight, attrs) : undefined,
  ],
  reference: ([grad, weight], attrs) => {
    const gx = ndarray(inputShape(grad.shape, weight.shape, attrs));
    eachProduct(gx.shape, weight.shape, grad.shape, attrs, (at, from, w) => {
      gx.data[from] += grad.data[at] * weight.data[w];
    });
    return gx;
  },
  cases: CASES.map(inputGradCase),
  half: true,
  tolerance: TOLERANCE,
  bench: BENCH.map(inputGradCase),
  cost: ([grad, weight], gx) => ({ flops: flops(weight, grad), bytes: bytes(grad, weight, gx) }),
});

function inputShape(grad: Shape, weight: Shape, attrs: InputGradAttrs): [number, number, number, number] {
  return [grad[0], weight[1] * attrs.groups, ...attrs.size];
}

interface WeightGradAttrs extends ConvAttrs {
  readonly kernel: readonly [number, number];
  /** Of the result; default that of the operands. */
  readonly dtype?: FloatDType;
}

const weightGradCase = ([x, weight, attrs]: Convolution) =>
  caseOf({ ...attrs, kernel: [weight[2], weight[3]] as const }, outputShape(x, weight, attrs), x);

const weightGradOp = defineOp<WeightGradAttrs>({
  name: 'conv2dWeightGrad',
  dense: true,
  forward: ([grad, x], attrs) => {
    const { dtype = floatDType('conv2dWeightGrad', x) } = attrs;
    const { engine } = x;
    return engine.tidy(() =>
      noGrad(engine, () => cast(launchConvWeightGrad(grad, x, attrs.kernel, attrs), dtype)),
    );
  },
  backward: ({ grad, inputs: [gradOut, x], attrs, needs }) => [
    needs[0] ? conv2dOp([x, contiguous(grad)], attrs) : undefined,
    needs[1] ? conv2dInputGrad(gradOut, grad, x.shape, attrs) : undefined,
  ],
  reference: ([grad, x], attrs) => {
    const gw = ndarray([grad.shape[1], x.shape[1] / attrs.groups, ...attrs.kernel]);
    eachProduct(x.shape, gw.shape, grad.shape, attrs, (at, from, w) => {
      gw.data[w] += grad.data[at] * x.data[from];
    });
    return gw;
  },
  cases: CASES.map(weightGradCase),
  half: true,
  // 2,349 products of numbers up to 4.
  tolerance: { abs: 2e-4, rel: 1e-5 },
  bench: BENCH.map(weightGradCase),
  cost: ([grad, x], gw) => ({ flops: flops(gw, grad), bytes: bytes(grad, x, gw) }),
});

function conv2dInputGrad(grad: Tensor, weight: Tensor, x: Shape, attrs: ConvAttrs): Tensor {
  return inputGradOp([contiguous(grad), contiguous(weight)], { ...attrs, size: [x[2], x[3]] });
}

function conv2dWeightGrad(grad: Tensor, x: Tensor, weight: Tensor, attrs: ConvAttrs): Tensor {
  return weightGradOp([contiguous(grad), contiguous(x)], {
    ...attrs,
    kernel: [weight.shape[2], weight.shape[3]],
    dtype: floatDType('conv2d', weight),
  });
}

/**
 * Cross-correlation of images x [n, c, h, w] with weight [o, c / groups, kh, kw], plus bias [o] → [n, o, oh, ow] with
 * oh = ⌊(h + 2 padding − dilation (kh − 1) − 1) / stride⌋ + 1 (PyTorch's conv2d). Its gradients are ops themselves. With
 * an x of f16 the result is f16, and weight and bias may be f16, or f32 with gradients in f32; sums are f32.
 * @throws EliError `SHAPE` when channels, groups or bias do not fit or the kernel is larger than the padded image,
 * `ARGUMENT` for options that are not whole numbers, `DTYPE`.
 */
export function conv2d(x: Tensor, weight: Tensor, bias?: Tensor, options: Conv2dOptions = {}): Tensor {
  checkTensor('conv2d: weight', weight);
  const { groups = 1 } = options;
  const attrs: ConvAttrs = {
    stride: pair('conv2d', 'stride', options.stride ?? 1, 1),
    padding: pair('conv2d', 'padding', options.padding ?? 0, 0),
    dilation: pair('conv2d', 'dilation', options.dilation ?? 1, 1),
    groups,
  };
  const operands = bias === undefined ? [x, weight] : [x, weight, bias];
  checkParameters('conv2d', floatDType('conv2d', x), operands.slice(1));
  checkImage('conv2d', x);
  checkGroups('conv2d', x.shape[1], weight.shape[0], groups);
  const kernel = ['outputs', x.shape[1] / groups, 'kernel height', 'kernel width'];
  expectShape('conv2d: weight', weight.shape, kernel, `x is ${showShape(x.shape)}, in ${groups} group(s)`);
  if (bias !== undefined) expectShape('conv2d: bias', bias.shape, [weight.shape[0]], 'one number per output');
  return conv2dOp(operands.map(contiguous), attrs);
}
