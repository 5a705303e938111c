import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';

/** What a network makes of its inputs on the way to its classifier. */
export interface Features {
  /** The classifier's input [n, d]: the latents. */
  readonly pooled: Tensor;
  /** Outputs of the network's stages by name, [n, …] each. */
  readonly stages: Readonly<Record<string, Tensor>>;
}

/** A classifier of two parts: inputs → features, and pooled features → scores of the classes. */
export abstract class Network extends Module {
  /** Features of inputs [n, …]. */
  abstract features(x: Tensor): Features;

  /** Scores of the classes from pooled features: [n, d] → [n, classes]. */
  abstract classify(pooled: Tensor): Tensor;

  /** Scores [n, classes] of inputs [n, …]. */
  forward(x: Tensor): Tensor {
    return this.classify(this.features(x).pooled);
  }
}
