import type { Module } from '../nn/module.ts';
import { toFloat } from '../ops/gather.ts';
import { crossEntropy } from '../ops/loss.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LabelledSamples, TrainingSamples } from './labelled-samples.ts';
import { inPrecision, type Precision } from './precision.ts';

/** A minibatch on the device. What an objective does not ask for is not computed. */
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

/** What training lowers: a minibatch → one number, made of differentiable ops. */
export type Objective = (batch: Batch) => Tensor;

/** The minibatch of some samples; inputs and labels are made when they are first asked for. */
export function batchOf(
  samples: TrainingSamples,
  index: Tensor,
  step: Tensor,
  precision: Precision = 'f32',
): Batch {
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
