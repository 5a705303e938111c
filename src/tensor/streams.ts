/**
 * Random streams by use: one seed serves many uses, and each has separate streams. An `Initializer` takes consecutive
 * streams from its first one.
 */
export const STREAM = {
  /** Order of the samples in the two tasks of the MNIST experiment. */
  task1Order: 100,
  task2Order: 101,
  /** Order of the samples of a trainer. */
  trainOrder: 102,
  /** Augmentation of images, and standalone affine maps. */
  augmentation: 200,
  affineMaps: 201,
  /** Order of the pairs of an aligner, and of the images of a transform gate. */
  alignerOrder: 1000,
  transformsOrder: 1001,
  /** Initial weights of an energy model, and of the network of a transform gate. */
  energy: 2000,
  transforms: 3000,
  /** Choice of pairs by `eli align fit`, and split of rows by `eli align gate`. */
  pairs: 3000,
  gateSplit: 3001,
} as const;
