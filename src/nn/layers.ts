import { linear } from '../ops/matmul.ts';
import { leakyRelu } from '../ops/unary.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { copyRows, Module } from './module.ts';

/** y = x Wᵀ + b with weight [out, in] and bias [out], both initially uniform in ±1/√in (PyTorch's default). */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;

  constructor(init: Initializer, inputs: number, outputs: number) {
    super();
    const bound = 1 / Math.sqrt(inputs);
    this.weight = init.uniform([outputs, inputs], bound);
    this.bias = init.uniform([outputs], bound);
  }

  /** A layer with `added` more outputs: the rows of this one, which does not change, and new initial rows. */
  grow(init: Initializer, added: number): Linear {
    const [outputs, inputs] = this.weight.shape as [number, number];
    return copyRows(this, new Linear(init, inputs, outputs + added));
  }

  /** [n, in] → [n, out]. */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/** A function without parameters, such as a ReLU, as a layer. */
export class Activation extends Module {
  readonly #apply: (x: Tensor) => Tensor;

  constructor(apply: (x: Tensor) => Tensor) {
    super();
    this.#apply = apply;
  }

  /** The function of x, in a shape that the function takes. */
  forward(x: Tensor): Tensor {
    return this.#apply(x);
  }
}

/** A leaky ReLU as a layer: x where x > 0, else slope · x. */
export function leakyReluLayer(slope: number): Activation {
  return new Activation((x) => leakyRelu(x, slope));
}

/** Layers in sequence; parameters are named by position: `0.weight`, `2.bias`, … */
export class Sequential extends Module {
  readonly layers: readonly Module[];

  constructor(layers: readonly Module[]) {
    super();
    this.layers = layers;
  }

  override children(): [string, Module][] {
    return this.layers.map((layer, i) => [String(i), layer]);
  }

  /** The output of the last layer; each layer takes the output of the one before. */
  forward(x: Tensor): Tensor {
    return this.layers.reduce((value, layer) => layer.forward(value), x);
  }
}
