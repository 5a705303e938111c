import { noGrad } from '../autograd/tape.ts';
import { mul } from '../ops/binary.ts';
import { cast } from '../ops/core/cast.ts';
import { scatterAdd, toFloat } from '../ops/gather.ts';
import { matmul } from '../ops/matmul.ts';
import { mean, sum } from '../ops/reduce.ts';
import { sqrt } from '../ops/unary.ts';
import { concat, transpose } from '../ops/views.ts';
import { expectShape } from '../tensor/shape.ts';
import { floatDType, type Tensor } from '../tensor/tensor.ts';
import type { Initializer } from './init.ts';
import { normalizeRows } from './losses.ts';
import { copyRows, Module } from './module.ts';

const timesSigma = (scores: Tensor, sigma: Tensor): Tensor =>
  mul(scores, cast(sigma, floatDType('CosineLinear', scores)));

/**
 * Cosine classifier (Hou et al., LUCIR, CVPR 2019, equation 4): σ · x̂ Ŵᵀ with the normalised rows of x [n, in] and weight
 * [out, in], without bias. `scores` leaves out σ. The result has the dtype of x, f32 or f16.
 */
export class CosineLinear extends Module {
  readonly weight: Tensor;
  readonly sigma: Tensor | undefined;

  /** @param scaled whether there is a learnable σ */
  constructor(init: Initializer, inputs: number, outputs: number, scaled = true) {
    super();
    this.weight = init.uniform([outputs, inputs], 1 / Math.sqrt(inputs));
    this.sigma = scaled ? init.constant([1], 1) : undefined;
  }

  /** A layer with `added` more outputs: rows and σ of this one, which does not change, and new initial rows. */
  grow(init: Initializer, added: number): CosineLinear {
    const [outputs, inputs] = this.weight.shape as [number, number];
    return copyRows(this, new CosineLinear(init, inputs, outputs + added, this.sigma !== undefined));
  }

  /** Cosines [n, out]. */
  scores(x: Tensor): Tensor {
    const weight = cast(normalizeRows(this.weight), floatDType('CosineLinear', x));
    return matmul(normalizeRows(x), transpose(weight));
  }

  /** x [n, features] → scaled cosines [n, classes]. */
  forward(x: Tensor): Tensor {
    const scores = this.scores(x);
    return this.sigma === undefined ? scores : timesSigma(scores, this.sigma);
  }
}

/** LUCIR's classifier of old and new classes: two cosine layers side by side that share σ. */
export class SplitCosineLinear extends Module {
  readonly fc1: CosineLinear;
  readonly fc2: CosineLinear;
  readonly sigma: Tensor;

  constructor(init: Initializer, inputs: number, old: number, added: number) {
    super();
    this.fc1 = new CosineLinear(init, inputs, old, false);
    this.fc2 = new CosineLinear(init, inputs, added, false);
    this.sigma = init.constant([1], 1);
  }

  /** Cosines [n, old + added]. */
  scores(x: Tensor): Tensor {
    return concat([this.fc1.scores(x), this.fc2.scores(x)], 1);
  }

  /** x [n, features] → scaled cosines [n, old + new classes], the old ones first. */
  forward(x: Tensor): Tensor {
    return timesSigma(this.scores(x), this.sigma);
  }
}

/**
 * Weights [classes, d] for new classes (Qi et al., CVPR 2018, in LUCIR's form): the mean of the normalised features of a
 * class, normalised again, times the mean norm of the old classes' weights.
 * @param features [n, d] of samples of the new classes
 * @param labels [n] (u32), from 0; a class without samples gets zeros
 * @param old weights of the old classes [k, d]
 */
export function imprintedWeights(features: Tensor, labels: Tensor, classes: number, old: Tensor): Tensor {
  expectShape('imprintedWeights: features', features.shape, ['n', 'd']);
  expectShape('imprintedWeights: old weights', old.shape, ['k', features.shape[1]!]);
  const { engine } = features;
  return engine.tidy(() =>
    noGrad(engine, () => {
      // The sum has the direction of the mean.
      const directions = normalizeRows(scatterAdd(normalizeRows(toFloat(features)), labels, classes));
      return mul(directions, mean(sqrt(sum(mul(old, old), 1))));
    }),
  );
}
