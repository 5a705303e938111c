import { linear } from '../ops/matmul.ts';
import { leakyRelu } from '../ops/unary.ts';
import { copyInto } from '../ops/views.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { Module } from './module.ts';

/** y = x Wᵀ + b with weight [out, in] and bias [out], both uniform in ±1/√in at first (PyTorch's default). */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;

  constructor(init: Initializer, inputs: number, outputs: number) {
    super();
    const bound = 1 / Math.sqrt(inputs);
    this.weight = init.uniform([outputs, inputs], bound);
    this.bias = init.uniform([outputs], bound);
  }

  /** A layer with `added` outputs more: the rows there were as they are, new ones as at first. This one stays. */
  grow(init: Initializer, added: number): Linear {
    const [outputs, inputs] = this.weight.shape as [number, number];
    const grown = new Linear(init, inputs, outputs + added);
    copyRows(this.weight, grown.weight);
    copyRows(this.bias, grown.bias);
    return grown;
  }

  /** [n, in] → [n, out]. */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/** Overwrites the first rows of a dense `to` with those of `from`. */
export function copyRows(from: Tensor, to: Tensor): void {
  copyInto(from, to, to.strides, 0);
}

/** A function without parameters, such as a ReLU, as a layer. */
export class Activation extends Module {
  readonly #apply: (x: Tensor) => Tensor;

  constructor(apply: (x: Tensor) => Tensor) {
    super();
    this.#apply = apply;
  }

  /** The function of x; of an elementwise one x may have any shape. */
  forward(x: Tensor): Tensor {
    return this.#apply(x);
  }
}

/** A leaky ReLU as a layer: x where x > 0, else slope · x. */
export function leakyReluLayer(slope: number): Activation {
  return new Activation((x) => leakyRelu(x, slope));
}

/** Layers one after the other; parameters are named `0.weight`, `2.bias`, … by position. */
export class Sequential extends Module {
  readonly layers: readonly Module[];

  constructor(layers: readonly Module[]) {
    super();
    this.layers = layers;
  }

  override children(): [string, Module][] {
    return this.layers.map((layer, i) => [String(i), layer]);
  }

  /** The output of the last module, each given what the one before made. */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), x);
  }
}
