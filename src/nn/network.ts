import type { Tensor } from '../tensor/tensor.ts';
import { Module } from './module.ts';

/** Intermediate results of a network before its classifier. */
export interface Features {
  /** The classifier's input [n, d]: the latents. */
  readonly pooled: Tensor;
  /** Outputs of the network's stages by name, [n, …] each. */
  readonly stages: Readonly<Record<string, Tensor>>;
}

/** A classifier in two parts: inputs → features, and pooled features → class scores. */
export abstract class Network extends Module {
  /** Features of inputs [n, …]. */
  abstract features(x: Tensor): Features;

  /** Class scores [n, classes] of pooled features [n, d]. */
  abstract classify(pooled: Tensor): Tensor;

  /** Class scores [n, classes] of inputs [n, …]. */
  forward(x: Tensor): Tensor {
    return this.classify(this.features(x).pooled);
  }
}
