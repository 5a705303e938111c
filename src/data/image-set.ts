import { EliError } from '../errors.ts';

/** Labelled images on the CPU. */
export interface ImageSet {
  /** uint8 [count, channels, height, width] row-major: one plane a channel. */
  readonly images: Uint8Array;
  /** [count], each below `classes`. */
  readonly labels: Uint8Array;
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly classes: number;
  /** Names of the classes in the order of their numbers, where they are known. */
  readonly names?: readonly string[] | undefined;
}

/** Two sets of one kind, and where they come from. */
export interface ImageData {
  readonly train: ImageSet;
  readonly test: ImageSet;
  readonly source: string;
}

/** Grey images with labels: `images` is uint8 [count, rows, cols] row-major, `labels` is uint8 [count]. */
export interface DigitSet {
  readonly images: Uint8Array;
  readonly labels: Uint8Array;
  readonly count: number;
  readonly rows: number;
  readonly cols: number;
}

/** Grey images of ten classes as a set with one channel; the bytes are shared. */
export function greyImages(set: DigitSet, names?: readonly string[]): ImageSet {
  const { images, labels, count, rows, cols } = set;
  return { images, labels, count, channels: 1, height: rows, width: cols, classes: 10, names };
}

/**
 * The images of some classes, in their order, relabelled by position: with [5, 0] class 5 gets label 0 and class 0
 * label 1. This makes the tasks of class-incremental learning.
 * @param noun what messages call the classes.
 * @throws EliError `ARGUMENT` for an empty list, a class that there is not or that is named twice, or no image at all.
 */
export function selectClasses(set: ImageSet, classes: readonly number[], noun = 'classes'): ImageSet {
  const valid = classes.every((k) => Number.isInteger(k) && k >= 0 && k < set.classes);
  if (classes.length === 0 || !valid || new Set(classes).size !== classes.length) {
    throw new EliError(
      'ARGUMENT',
      `${noun} [${classes}]: expected one or more different ${noun} of 0 to ${set.classes - 1}`,
    );
  }
  const kept = Array.from(set.labels.keys()).filter((index) => classes.includes(set.labels[index]!));
  if (kept.length === 0)
    throw new EliError('ARGUMENT', `none of the ${set.count} images has one of the ${noun} [${classes}]`);
  const size = set.channels * set.height * set.width;
  const images = new Uint8Array(kept.length * size);
  kept.forEach((from, to) => {
    images.set(set.images.subarray(from * size, (from + 1) * size), to * size);
  });
  const labels = Uint8Array.from(kept, (index) => classes.indexOf(set.labels[index]!));
  const names = set.names && classes.map((k) => set.names![k]!);
  return { ...set, images, labels, count: kept.length, classes: classes.length, names };
}

/** Mean and standard deviation of each channel. */
export interface ChannelStatistics {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Statistics of the pixels of each channel, 0 … 1, over all images; exact up to float64 rounding. */
export function channelStatistics(set: ImageSet): ChannelStatistics {
  const plane = set.height * set.width;
  const mean: number[] = [];
  const std: number[] = [];
  for (let channel = 0; channel < set.channels; channel++) {
    const histogram = new Float64Array(256);
    for (let image = 0; image < set.count; image++) {
      const start = (image * set.channels + channel) * plane;
      for (let i = start; i < start + plane; i++) histogram[set.images[i]!]!++;
    }
    const total = set.count * plane;
    const average = histogram.reduce((sum, n, value) => sum + n * value, 0) / total;
    const variance = histogram.reduce((sum, n, value) => sum + n * (value - average) ** 2, 0) / total;
    mean.push(average / 255);
    std.push(Math.sqrt(variance) / 255);
  }
  return { mean, std };
}
