import { checkNumber, checkWhole, EliError, SHARE } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { empty, launch1d, tensor } from '../tensor/create.ts';
import { checkSeed, type RandomSource } from '../tensor/random.ts';
import { showShape } from '../tensor/shape.ts';
import { checkDType, engineOf, Tensor } from '../tensor/tensor.ts';
import type { ImageSet } from './image-set.ts';

/**
 * Random changes of images, in this order; what is left out does not happen. shaders/augment/augment.wgsl says what
 * they are.
 */
export interface Augmentation {
  /** A window of `size` (default: the image's) of the image with this many black pixels on each side. */
  readonly crop?: { readonly padding: number; readonly size?: readonly [number, number] };
  /** Probability of a horizontal flip. */
  readonly flip?: number;
  /** Maps [k, 2, 3] (f32) from `affineMaps`; each image takes one by chance, read bilinearly. */
  readonly affine?: Tensor;
  /** Pixels times a factor of 1 ± this, cut to 0 … 1. */
  readonly brightness?: number;
  /** After normalisation: side of a square of zeros (DeVries and Taylor, 2017). */
  readonly cutout?: number;
  /** At last: α of mixup, shares of Beta(α, α) with the next image of the minibatch (Zhang et al., 2018). */
  readonly mixup?: number;
}

/** Images on the device as bytes. */
export interface ImageBytes {
  /**
   * uint8 [count, channels, height, width] row-major, four to a word (u32), the first in the lowest bits; in two parts
   * where they are more than a kernel may see of one buffer, the first of `first` images.
   */
  readonly parts: readonly [Tensor] | readonly [Tensor, Tensor];
  readonly first: number;
  readonly count: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
}

/**
 * Puts images on the device.
 * @param most bytes of a part; default: what the adapter allows.
 * @throws EliError `OUT_OF_MEMORY` when they do not fit into two parts.
 */
export function uploadImages(
  engine: Engine,
  set: ImageSet,
  most = engine.device.limits.maxStorageBufferBindingSize,
): ImageBytes {
  const { images, count, channels, height, width } = set;
  const size = channels * height * width;
  // Parts begin with a whole word.
  const first = count * size <= most ? count : 4 * Math.floor(most / (4 * size));
  if ((count - first) * size > most || first === 0) {
    throw new EliError(
      'OUT_OF_MEMORY',
      `${count} images of ${size} bytes do not fit into two buffers of ${most} bytes, the most this adapter takes`,
      { hint: 'use fewer images, or an adapter with larger limits' },
    );
  }
  const upload = (from: number, to: number): Tensor => {
    const words = new Uint32Array(Math.ceil(((to - from) * size) / 4));
    // The first byte is the lowest of its word: every platform of WebGPU is little-endian.
    new Uint8Array(words.buffer).set(images.subarray(from * size, to * size));
    return engine.keep(tensor(engine, words));
  };
  const parts =
    first === count ? ([upload(0, count)] as const) : ([upload(0, first), upload(first, count)] as const);
  return { parts, first, count, channels, height, width };
}

/** How bytes become images: augmentation, normalisation, random numbers. */
export interface AugmentOptions {
  /** Without it images are only normalised. */
  readonly augmentation?: Augmentation | undefined;
  /** Of each channel, of pixels 0 … 1; default 0 and 1. */
  readonly mean?: readonly number[] | undefined;
  readonly std?: readonly number[] | undefined;
  /** A step on the device is read when the kernel runs, so that a captured step draws new numbers each time. */
  readonly random?: RandomSource | undefined;
}

/** Largest number of channels: the kernel holds the constants of each in a vector of four. */
const MAX_CHANNELS = 4;

/**
 * Images of a minibatch, changed at random and normalised: index [n] (u32) → [n, channels, height, width], or the
 * crop's size. An index past the last image reads that. The same source of random numbers gives the same bits. No
 * gradient.
 * @throws EliError `SHAPE`, `DTYPE` or `ARGUMENT` naming what does not fit.
 */
export function augment(images: ImageBytes, index: Tensor, options: AugmentOptions = {}): Tensor {
  const { augmentation = {}, random = { seed: 0 } } = options;
  const { channels, height, width, count } = images;
  checkImages(images);
  checkDType('augment', index, 'u32');
  if (index.rank !== 1 || !index.isContiguous)
    throw new EliError('SHAPE', `augment: the index has shape ${showShape(index.shape)}, not a dense [n]`);
  checkAugmentation(augmentation, images);
  const { mean, std } = normalisation(options, channels);
  const { crop, flip = 0, affine, brightness = 0, cutout = 0, mixup } = augmentation;
  const [outHeight, outWidth] = crop?.size ?? [height, width];
  const n = index.shape[0]!;
  const step = stepOf(random);
  const [part0, part1 = part0] = images.parts;
  const maps = affine ?? part0;
  engineOf('augment', [part0, part1, index, maps, ...(step.tensor === undefined ? [] : [step.tensor])]);

  const y = empty(index.engine, [n, channels, outHeight, outWidth]);
  launch1d(y.engine, 'augment/augment.wgsl', n * outHeight * Math.ceil(outWidth / 4), {
    storages: [part0, part1, index, step.tensor ?? index, maps, y].map((t) => t.storage),
    overrides: {
      PARTS: images.parts.length,
      AFFINE: affine === undefined ? 0 : 1,
      HOLE: cutout > 0 ? 1 : 0,
      MIX: mixup === undefined ? 0 : 1,
      STEPPED: step.tensor === undefined ? 0 : 1,
    },
    params: {
      n,
      count,
      first: images.first,
      channels,
      sources: mixup === undefined ? 1 : 2,
      size: [height, width],
      out: [outHeight, outWidth],
      padding: crop?.padding ?? 0,
      hole: cutout,
      maps: affine?.shape[0] ?? 0,
      maps_offset: affine?.offset ?? 0,
      offset_0: part0.offset,
      offset_1: part1.offset,
      index_offset: index.offset,
      ...step.params,
      flip,
      brightness,
      inverse_alpha: 1 / (mixup ?? 1),
      scale: std.map((s) => 1 / s),
      shift: mean.map((m, c) => -m / std[c]!),
    },
  });
  return y;
}

/**
 * What a network should say of images that `augment` mixed with the same α and random source: labels [n] (u32) of the
 * minibatch → shares of each class [n, classes] (f32). No gradient.
 * @throws EliError `SHAPE`, `DTYPE` or `ARGUMENT` naming what does not fit.
 */
export function mixedLabels(labels: Tensor, classes: number, alpha: number, random: RandomSource): Tensor {
  checkDType('mixedLabels', labels, 'u32');
  if (labels.rank !== 1 || !labels.isContiguous)
    throw new EliError('SHAPE', `mixedLabels: labels have shape ${showShape(labels.shape)}, not a dense [n]`);
  checkAlpha(alpha);
  const step = stepOf(random);
  engineOf('mixedLabels', [labels, ...(step.tensor === undefined ? [] : [step.tensor])]);
  const y = empty(labels.engine, [labels.size, classes]);
  launch1d(y.engine, 'augment/mixed_labels.wgsl', y.size, {
    storages: [labels, step.tensor ?? labels, y].map((t) => t.storage),
    overrides: { STEPPED: step.tensor === undefined ? 0 : 1 },
    params: {
      n: labels.size,
      classes,
      labels_offset: labels.offset,
      ...step.params,
      inverse_alpha: 1 / alpha,
    },
  });
  return y;
}

/** Where the kernels find the random numbers. */
function stepOf(random: RandomSource): { tensor: Tensor | undefined; params: Record<string, number> } {
  const { seed, stream = 0, step = 0 } = random;
  checkSeed(seed);
  const counter = step instanceof Tensor ? step : undefined;
  if (counter !== undefined) checkDType('augment', counter, 'u32');
  return {
    tensor: counter,
    params: {
      step_offset: counter?.offset ?? 0,
      step: typeof step === 'number' ? step : 0,
      stream,
      seed_low: seed >>> 0,
      seed_high: Math.floor(seed / 2 ** 32),
    },
  };
}

function checkImages({ parts, first, count, channels, height, width }: ImageBytes): void {
  if (!(channels >= 1 && channels <= MAX_CHANNELS)) {
    throw new EliError(
      'ARGUMENT',
      `augment: images have ${channels} channels, 1 to ${MAX_CHANNELS} are read`,
    );
  }
  const counts = [first, count - first];
  for (const [i, words] of parts.entries()) {
    checkDType('augment', words, 'u32');
    const bytes = counts[i]! * channels * height * width;
    const fits = words.isContiguous && 4 * words.size >= bytes && bytes < 2 ** 31;
    if (fits && counts.slice(parts.length).every((rest) => rest === 0)) continue;
    throw new EliError(
      'SHAPE',
      `augment: ${words.size} words do not hold ${counts[i]} of ${count} images of ${channels}×${height}×${width} bytes`,
      { hint: 'four bytes to a dense u32 tensor, below 2 GiB in a part' },
    );
  }
}

function checkAugmentation(
  augmentation: Augmentation,
  { height, width }: { readonly height: number; readonly width: number },
): void {
  const { crop, flip = 0, affine, brightness = 0, cutout = 0, mixup } = augmentation;
  if (crop !== undefined) {
    const { padding, size = [height, width] } = crop;
    checkWhole('augment: crop.padding', padding, 0, 2 ** 15);
    const fits = size.every(
      (side, d) => Number.isInteger(side) && side >= 1 && side <= [height, width][d]! + 2 * padding,
    );
    if (!fits || size.length !== 2)
      throw new EliError(
        'ARGUMENT',
        `augment: a crop of ${size.join('×')} does not fit ${height}×${width} with ${padding} around`,
      );
  }
  checkNumber('augment: flip', flip, SHARE);
  checkNumber('augment: brightness', brightness, SHARE);
  checkWhole('augment: cutout', cutout, 0, 2 ** 15);
  if (mixup !== undefined) checkAlpha(mixup);
  if (affine !== undefined) {
    checkDType('augment', affine, 'f32');
    if (affine.rank !== 3 || affine.shape[1] !== 2 || affine.shape[2] !== 3 || !affine.isContiguous)
      throw new EliError(
        'SHAPE',
        `augment: affine has shape ${showShape(affine.shape)}, not a dense [k, 2, 3]`,
      );
  }
}

function checkAlpha(alpha: number): void {
  // Beyond these, u^(1/α) leaves the range of f32 and shares are 0, ½ or 1 anyway.
  const accepts = (v: number): boolean => v >= 1e-3 && v <= 1e3;
  checkNumber('augment: mixup', alpha, { accepts, words: 'an α from 0.001 to 1000' });
}

/** Constants of each channel. @throws EliError `ARGUMENT` unless there is one a channel, all finite, std above 0. */
function normalisation(
  options: AugmentOptions,
  channels: number,
): { mean: readonly number[]; std: readonly number[] } {
  const mean = options.mean ?? new Array<number>(channels).fill(0);
  const std = options.std ?? new Array<number>(channels).fill(1);
  const valid = mean.every(Number.isFinite) && std.every((s) => s > 0 && Number.isFinite(s));
  if (mean.length !== channels || std.length !== channels || !valid) {
    throw new EliError(
      'ARGUMENT',
      `augment: mean [${mean}] and std [${std}] do not fit images of ${channels} channels`,
      { hint: 'one finite number a channel, std above 0' },
    );
  }
  return { mean, std };
}
