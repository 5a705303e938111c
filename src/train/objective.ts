import type { Module } from '../nn/module.ts';
import { cast } from '../ops/core/cast.ts';
import { toFloat } from '../ops/gather.ts';
import { crossEntropy } from '../ops/loss.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LabelledSamples, TrainingSamples } from './samples.ts';

/**
 * What a network computes with: f32, or f16 activations and gradients beside f32 parameters, statistics and losses. Sums
 * are f32 in both.
 */
export type Precision = 'f32' | 'mixed';

export const PRECISIONS: readonly Precision[] = ['f32', 'mixed'];

/** Network inputs in a precision: layers compute in the dtype of their inputs. */
export function inPrecision(precision: Precision, inputs: Tensor): Tensor {
  return precision === 'mixed' && inputs.dtype === 'f32' ? cast(inputs, 'f16') : inputs;
}

/** A mini-batch on the device. Only what an objective uses is computed. */
export interface Batch {
  /** Network inputs [batch, …], augmented by the step. */
  readonly inputs: Tensor;
  /** Labels u32 [batch]. */
  readonly labels: Tensor;
  /** Which samples they are, u32 [batch]. */
  readonly index: Tensor;
  /** The step, u32 [1], read on the device. */
  readonly step: Tensor;
}

/** What training minimises: a mini-batch → one number, by differentiable ops. */
export type Objective = (batch: Batch) => Tensor;

/** The mini-batch of some samples; inputs and labels are computed when first used. */
export function batchOf(samples: TrainingSamples, index: Tensor, step: Tensor, precision: Precision): Batch {
  let inputs: Tensor | undefined;
  let labels: Tensor | undefined;
  return {
    index,
    step,
    get inputs() {
      inputs ??= inPrecision(precision, samples.inputs(index, step));
      return inputs;
    },
    get labels() {
      labels ??= samples.labels(index);
      return labels;
    },
  };
}

/**
 * The objective of a classifier: `loss` of the network's output (as f32) and the labels [batch]. Default: cross-entropy.
 */
export function classification(
  model: Module,
  loss: (output: Tensor, labels: Tensor) => Tensor = crossEntropy,
): Objective {
  return ({ inputs, labels }) => loss(toFloat(model.forward(inputs)), labels);
}

/**
 * The objective of a classifier on soft labels, as mixup gives them: `loss` of the network's output (as f32) and the
 * samples' `softLabels` [batch, classes].
 */
export function softClassification(
  model: Module,
  samples: Required<Pick<LabelledSamples, 'softLabels'>>,
  loss: (output: Tensor, softLabels: Tensor) => Tensor,
): Objective {
  return ({ inputs, index, step }) => loss(toFloat(model.forward(inputs)), samples.softLabels(index, step));
}
