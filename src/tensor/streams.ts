/** First of the streams of a use, of which each has 2^24; those below 2^31 are left to whoever draws random numbers directly. */
const first = (use: number): number => 2 ** 31 + use * 2 ** 24;

/**
 * Random streams by use: a seed serves many uses, and none shares its numbers with another or with `randomNormal` and the
 * like, unless it is given a stream. An `Initializer` takes one stream after the other.
 */
export const STREAM = {
  /** First weights of networks, of an energy model, and of the network of a transform gate. */
  weights: first(0),
  energy: first(1),
  transforms: first(2),
  /** Noise of chains. */
  chains: first(3),
  /** Masks of dropout. */
  dropout: first(4),
  /** Augmentation of images, and standalone affine maps. */
  augmentation: first(5),
  affineMaps: first(6),
  /** Order of the samples of a trainer, and in the two tasks of the MNIST experiment. */
  trainOrder: first(7),
  task1Order: first(8),
  task2Order: first(9),
  /** Order of the pairs that an aligner learns from, and of the images that a transform gate learns from. */
  alignerOrder: first(10),
  transformsOrder: first(11),
  /** Choice of the pairs that `eli align fit` takes from a file, and the split of the rows that `eli align gate` takes. */
  pairs: first(12),
  gateSplit: first(13),
  /** Start of the search for principal components. */
  basis: first(14),
} as const;
