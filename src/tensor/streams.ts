/**
 * Random streams by use: a seed serves many uses, and each draws from its own streams. An `Initializer` takes one
 * stream after the other from its first on.
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
  /** Order of the pairs that an aligner learns from, and of the images that a transform gate learns from. */
  alignerOrder: 1000,
  transformsOrder: 1001,
  /** First weights of an energy model, and of the network of a transform gate. */
  energy: 2000,
  transforms: 3000,
  /** Choice of the pairs that `eli align fit` takes from a file, and the split of the rows that `eli align gate` takes. */
  pairs: 3000,
  gateSplit: 3001,
} as const;
