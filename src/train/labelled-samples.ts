import type { Tensor } from '../tensor/tensor.ts';

/** TrainingSamples on the device that a training step takes by index. */
export interface TrainingSamples {
  readonly count: number;
  /**
   * Network inputs of some samples: index [n] (u32) → [n, …]. With `step` (u32, one element, read on the device) they
   * are augmented with that step's random numbers; without it they are as they are.
   */
  inputs(index: Tensor, step?: Tensor): Tensor;
  /** Their labels: index [n] → [n] (u32). */
  labels(index: Tensor): Tensor;
}

/** TrainingSamples of a number of classes. */
export interface LabelledSamples extends TrainingSamples {
  /** Labels are below this. */
  readonly classes: number;
  /** Labels of all samples on the CPU, [count]. */
  readonly hostLabels: Uint32Array;
  /** Shares of the classes [n, classes] in what `inputs` gives for the same index and step, where images are mixed. */
  softLabels?(index: Tensor, step?: Tensor): Tensor;
}
