import { type Conv2dOptions as ConvOptions, conv2d } from '../ops/conv.ts';
import { checkGroups, type Pair, pair } from '../ops/conv-window.ts';
import {
  type AvgPoolOptions,
  adaptiveAvgPool2d,
  avgPool2d,
  type MaxPoolOptions,
  maxPool2d,
} from '../ops/pool.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { Activation } from './layers.ts';
import { Module } from './module.ts';

/** Settings of a convolutional layer. */
export interface Conv2dOptions extends ConvOptions {
  /** Default true. */
  readonly bias?: boolean;
  /**
   * Initial weights: `uniform` in ±1/√(fan-in), the default as in PyTorch, or `he`, normal with variance 2 / fan-out (He
   * et al., ICCV 2015), for residual networks.
   */
  readonly weights?: 'uniform' | 'he';
}

/**
 * `conv2d` of images with weight [out, in / groups, kernel height, kernel width] and bias [out].
 * @throws EliError `SHAPE` unless `groups` divides both numbers of channels, `ARGUMENT` unless the kernel is whole numbers.
 */
export class Conv2d extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  readonly #options: ConvOptions;

  constructor(init: Initializer, inputs: number, outputs: number, kernel: Pair, options: Conv2dOptions = {}) {
    super();
    const { bias = true, weights = 'uniform', ...rest } = options;
    const [height, width] = pair('Conv2d', 'kernel', kernel, 1);
    const { groups = 1 } = options;
    checkGroups('Conv2d', inputs, outputs, groups);
    const perGroup = inputs / groups;
    const shape = [outputs, perGroup, height, width];
    const bound = 1 / Math.sqrt(perGroup * height * width);
    const std = Math.sqrt(2 / (outputs * height * width));
    this.weight = weights === 'he' ? init.normal(shape, std) : init.uniform(shape, bound);
    this.bias = bias ? init.uniform([outputs], bound) : undefined;
    this.#options = rest;
  }

  /** [n, in, height, width] → [n, out, …]. */
  forward(x: Tensor): Tensor {
    return conv2d(x, this.weight, this.bias, this.#options);
  }
}

/** `maxPool2d` as a layer: x [n, c, h, w] → [n, c, out h, out w]. */
export class MaxPool2d extends Activation {
  constructor(kernel: Pair, options: MaxPoolOptions = {}) {
    super((x) => maxPool2d(x, kernel, options));
  }
}

/** `avgPool2d` as a layer: x [n, c, h, w] → [n, c, out h, out w]. */
export class AvgPool2d extends Activation {
  constructor(kernel: Pair, options: AvgPoolOptions = {}) {
    super((x) => avgPool2d(x, kernel, options));
  }
}

/** `adaptiveAvgPool2d` as a layer: x [n, c, h, w] → [n, c, ...size]; size 1 is the global mean. */
export class AdaptiveAvgPool2d extends Activation {
  constructor(size: Pair) {
    super((x) => adaptiveAvgPool2d(x, size));
  }
}
