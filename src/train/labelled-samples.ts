import type { Tensor } from '../tensor/tensor.ts';

/** Labelled samples on the device, taken by index. */
export interface LabelledSamples {
  readonly count: number;
  /** Labels are below this. */
  readonly classes: number;
  /**
   * Network inputs of some samples: index [n] (u32) → [n, …]. With `step` (u32, one element, read on the device) they
   * are augmented with that step's random numbers; without it they are as they are.
   */
  inputs(index: Tensor, step?: Tensor): Tensor;
  /** Their labels: index [n] → [n] (u32). */
  labels(index: Tensor): Tensor;
  /** Shares of the classes [n, classes] of what `inputs` gives for the same index and step, where images are mixed. */
  targets?(index: Tensor, step?: Tensor): Tensor;
}
