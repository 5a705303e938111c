import { EliError } from '../errors.ts';

/** Class of each sample, in the narrowest integers that hold them. */
export type Labels = Uint8Array | Uint16Array | Uint32Array;

/** How many images there are, and of what size. */
export interface ImageShape {
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/** Labelled images on the CPU. */
export interface ImageSet extends ImageShape {
  /** uint8 [count, channels, height, width] row-major: one plane per channel. */
  readonly images: Uint8Array;
  /** [count], each below `classes`. */
  readonly labels: Labels;
  readonly classes: number;
  /** Names of the classes by number, where known. */
  readonly names?: readonly string[] | undefined;
}

/** A training and a test set, and where they come from. */
export interface ImageData {
  readonly train: ImageSet;
  readonly test: ImageSet;
  readonly source: string;
}

/**
 * Rows of the images of some classes in their order, and their labels by position in `classes`: with [5, 0] class 5
 * gets label 0 and class 0 label 1. This makes the tasks of class-incremental learning.
 * @throws EliError `ARGUMENT` for an empty list, an unknown or repeated class, or no image at all.
 */
export function rowsOfClasses(
  { labels, count, classes: known }: Pick<ImageSet, 'labels' | 'count' | 'classes'>,
  classes: readonly number[],
): Record<'rows' | 'labels', Uint32Array> {
  const valid = classes.every((k) => Number.isInteger(k) && k >= 0 && k < known);
  if (classes.length === 0 || !valid || new Set(classes).size !== classes.length) {
    throw new EliError(
      'ARGUMENT',
      `classes [${classes}]: expected one or more different classes of 0 to ${known - 1}`,
    );
  }
  const rows = Uint32Array.from(labels.keys()).filter((row) => classes.includes(labels[row]!));
  if (rows.length === 0)
    throw new EliError('ARGUMENT', `none of the ${count} images belongs to the classes [${classes}]`);
  return { rows, labels: rows.map((row) => classes.indexOf(labels[row]!)) };
}

/** The images of `rowsOfClasses` as a new set. @throws EliError `ARGUMENT` as `rowsOfClasses` does. */
export function selectClasses(set: ImageSet, classes: readonly number[]): ImageSet {
  const { rows, labels } = rowsOfClasses(set, classes);
  const size = set.channels * set.height * set.width;
  const images = new Uint8Array(rows.length * size);
  rows.forEach((from, to) => {
    images.set(set.images.subarray(from * size, (from + 1) * size), to * size);
  });
  const names = set.names && classes.map((k) => set.names![k]!);
  return { ...set, images, labels, count: rows.length, classes: classes.length, names };
}

/** Of pixels 0 … 1, one number per channel. */
export interface ChannelStatistics {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/** Mean and standard deviation of each channel over all images, exact up to float64 rounding. */
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
