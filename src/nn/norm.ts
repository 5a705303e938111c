import { type BatchNormOptions, batchNorm, batchNormEval } from '../ops/norm.ts';
import { full, zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { Module } from './module.ts';

/** Settings of a batch normalisation layer; the defaults are PyTorch's. */
export interface BatchNorm2dOptions {
  /** Added to the variance. Default 1e-5. */
  readonly epsilon?: number;
  /** Weight of a mini-batch's statistics in the running ones. Default 0.1. */
  readonly momentum?: number;
}

/**
 * Batch normalisation of images (Ioffe and Szegedy, ICML 2015) with PyTorch's names and defaults: in training by the
 * statistics of the mini-batch, which update the running ones; in evaluation, or when `frozen`, by the running ones.
 */
export class BatchNorm2d extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly running_mean: Tensor;
  readonly running_var: Tensor;
  readonly num_batches_tracked: Tensor;
  /** Whether training too normalises by the running statistics, without updating them. */
  frozen = false;
  readonly #options: BatchNorm2dOptions;

  constructor(init: Initializer, channels: number, options: BatchNorm2dOptions = {}) {
    super();
    const { engine } = init;
    this.#options = options;
    this.weight = init.constant([channels], 1);
    this.bias = init.constant([channels], 0);
    this.running_mean = engine.keep(zeros(engine, [channels]));
    this.running_var = engine.keep(full(engine, [channels], 1));
    this.num_batches_tracked = engine.keep(zeros(engine, []));
  }

  /** [n, channels, height, width] in the same shape. */
  forward(x: Tensor): Tensor {
    return this.#normalize(x);
  }

  /** ReLU of the normalised x, or of its sum with the `residual` of a shortcut around the block, in the same kernel. */
  relu(x: Tensor, residual?: Tensor): Tensor {
    return this.#normalize(x, { residual, relu: true });
  }

  #normalize(x: Tensor, fused: BatchNormOptions = {}): Tensor {
    const { running_mean: mean, running_var: variance, num_batches_tracked: batches } = this;
    const running = { mean, variance, batches };
    const options = { ...this.#options, ...fused };
    return this.training && !this.frozen
      ? batchNorm(x, this.weight, this.bias, { ...options, running })
      : batchNormEval(x, this.weight, this.bias, running, options);
  }
}
