import type { Engine } from '../gpu/engine.ts';
import { gather } from '../ops/gather.ts';
import { oneHot } from '../ops/loss.ts';
import { tensor } from '../tensor/create.ts';
import type { RandomSource } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type AugmentOptions, augment, type ImageBytes, mixedLabels, uploadImages } from './augment.ts';
import type { ImageSet } from './image-set.ts';

/** How samples are normalised and augmented. */
export interface ImageSamplesOptions extends Omit<AugmentOptions, 'random'> {
  /** For the augmentation. Default: seed 0, and a stream that only augmentation uses. */
  readonly random?: { readonly seed: number; readonly stream?: number } | undefined;
}

/**
 * Labelled images that stay on the device as bytes: mini-batches are gathered by index, augmented and normalised there.
 * @throws EliError `OUT_OF_MEMORY` when they do not fit into two of the adapter's buffers.
 */
export class ImageSamples {
  readonly count: number;
  readonly classes: number;
  /** Labels of all samples on the CPU, [count]. */
  readonly hostLabels: Uint32Array;
  readonly #images: ImageBytes;
  readonly #labels: Tensor;
  readonly #options: ImageSamplesOptions;

  constructor(engine: Engine, set: ImageSet, options: ImageSamplesOptions = {}) {
    this.count = set.count;
    this.classes = set.classes;
    this.#options = options;
    this.#images = uploadImages(engine, set);
    this.hostLabels = Uint32Array.from(set.labels);
    this.#labels = engine.keep(tensor(engine, this.hostLabels));
  }

  /**
   * Images by index [n] (u32) → [n, channels, height, width], normalised. With `step` (u32, one element, read on the
   * device) they are augmented with the random numbers of that step.
   */
  inputs(index: Tensor, step?: Tensor): Tensor {
    const { augmentation, mean, std } = this.#options;
    if (step === undefined) return augment(this.#images, index, { mean, std });
    return augment(this.#images, index, { augmentation, mean, std, random: this.#source(step) });
  }

  /** Their labels: index [n] → [n] (u32). */
  labels(index: Tensor): Tensor {
    return gather(this.#labels, index);
  }

  /**
   * Weights of the classes [n, classes] (f32) in the images that `inputs` gives for the same index and step: one-hot
   * without mixup.
   */
  softLabels(index: Tensor, step?: Tensor): Tensor {
    const alpha = this.#options.augmentation?.mixup;
    const labels = this.labels(index);
    if (step === undefined || alpha === undefined) return oneHot(labels, this.classes);
    return mixedLabels(labels, this.classes, alpha, this.#source(step));
  }

  #source(step: Tensor): RandomSource {
    const { seed = 0, stream = STREAM.augmentation } = this.#options.random ?? {};
    return { seed, stream, step };
  }

  /** Frees the images and labels on the device. */
  dispose(): void {
    for (const part of this.#images.parts) part.dispose();
    this.#labels.dispose();
  }
}
