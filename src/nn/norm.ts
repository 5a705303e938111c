import { batchNorm, batchNormEval } from '../ops/norm.ts';
import { full, zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { Module } from './module.ts';

/** Settings of a batch normalisation layer; the defaults are PyTorch's. */
export interface BatchNorm2dOptions {
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
  /** Share of a minibatch's statistics in the running ones. Default 0.1. */
  readonly momentum?: number;
}

/**
 * Batch normalisation of images (Ioffe and Szegedy, ICML 2015) with PyTorch's names and defaults: in training by the
 * minibatch's statistics, which move the running ones; in evaluation, or when `frozen`, by those.
 */
export class BatchNorm2d extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly running_mean: Tensor;
  readonly running_var: Tensor;
  readonly num_batches_tracked: Tensor;
  /** Normalise by the running statistics, and leave them, in training as well. */
  frozen = false;
  readonly #options: BatchNorm2dOptions;

  constructor(init: Initializer, channels: number, options: BatchNorm2dOptions = {}) {
    super();
    const { engine } = init;
    this.#options = options;
    this.weight = engine.keep(full(engine, [channels], 1));
    this.bias = engine.keep(zeros(engine, [channels]));
    this.weight.requiresGrad = true;
    this.bias.requiresGrad = true;
    this.running_mean = engine.keep(zeros(engine, [channels]));
    this.running_var = engine.keep(full(engine, [channels], 1));
    this.num_batches_tracked = engine.keep(zeros(engine, []));
  }

  /** [n, channels, height, width] in the same shape. */
  forward(x: Tensor): Tensor {
    return this.#normalize(x, undefined, false);
  }

  /** ReLU of the normalised x, or of its sum with the `residual` (what a shortcut around the block brings), in the same kernel. */
  relu(x: Tensor, residual?: Tensor): Tensor {
    return this.#normalize(x, residual, true);
  }

  #normalize(x: Tensor, residual: Tensor | undefined, relu: boolean): Tensor {
    const running = {
      mean: this.running_mean,
      variance: this.running_var,
      batches: this.num_batches_tracked,
    };
    const options = { ...this.#options, residual, relu };
    return this.training && !this.frozen
      ? batchNorm(x, this.weight, this.bias, { ...options, running })
      : batchNormEval(x, this.weight, this.bias, running, options);
  }
}
