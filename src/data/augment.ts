import { checkNumber, checkWhole, EliError, SHARE } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { faultNumber } from '../gpu/faults.ts';
import { empty, launch1d, tensor } from '../tensor/create.ts';
import { checkSeed, type RandomSource } from '../tensor/random.ts';
import { showShape } from '../tensor/shape.ts';
import { STREAM } from '../tensor/streams.ts';
import { checkDType, engineOf, Tensor } from '../tensor/tensor.ts';
import type { ImageSet, ImageShape } from './image-set.ts';

/** Random changes of images, each optional, in this order; shaders/augment/augment.wgsl defines them. */
export interface Augmentation {
  /** A window of `size` (default: the image's) of the image with this many black pixels on each side. */
  readonly crop?: { readonly padding: number; readonly size?: readonly [number, number] };
  /** Probability of a horizontal flip. */
  readonly flip?: number;
  /** Maps [k, 2, 3] (f32) from `affineMaps`; each image is read through a random one, bilinearly. */
  readonly affine?: Tensor;
  /** Pixels are multiplied by a factor of 1 ± this and clamped to 0 … 1. */
  readonly brightness?: number;
  /** After normalisation: side of a square of zeros (DeVries and Taylor, 2017). */
  readonly cutout?: number;
  /** Last: α of mixup with the next image of the mini-batch, weights from Beta(α, α) (Zhang et al., 2018). */
  readonly mixup?: number;
}

/** Images on the device as bytes. */
export interface ImageBytes extends ImageShape {
  /**
   * uint8 [count, channels, height, width] row-major, four to a word (u32), the first in the lowest bits. In two parts,
   * the first of `first` images, when they exceed what a kernel can bind of one buffer.
   */
  readonly parts: readonly [Tensor] | readonly [Tensor, Tensor];
  readonly first: number;
}

/**
 * Puts images on the device.
 * @param most largest number of bytes in a part; default: what the adapter allows.
 * @throws EliError `OUT_OF_MEMORY` when they do not fit into two parts.
 */
export function uploadImages(
  engine: Engine,
  set: ImageSet,
  most = engine.device.limits.maxStorageBufferBindingSize,
): ImageBytes {
  const { images, count, channels, height, width } = set;
  const size = channels * height * width;
  // The second part begins on a word boundary.
  const first = count * size <= most ? count : 4 * Math.floor(most / (4 * size));
  if ((count - first) * size > most || first === 0) {
    throw new EliError(
      'OUT_OF_MEMORY',
      `${count} images of ${size} bytes do not fit into two buffers of ${most} bytes, the adapter's limit`,
      { hint: 'use fewer images, or an adapter with larger limits' },
    );
  }
  const upload = (from: number, to: number): Tensor => {
    const words = new Uint32Array(Math.ceil(((to - from) * size) / 4));
    // The first byte is the lowest of its word: every WebGPU platform is little-endian.
    new Uint8Array(words.buffer).set(images.subarray(from * size, to * size));
    return engine.keep(tensor(engine, words));
  };
  const parts =
    first === count ? ([upload(0, count)] as const) : ([upload(0, first), upload(first, count)] as const);
  return { parts, first, count, channels, height, width };
}

/** How bytes become images. */
export interface AugmentOptions {
  /** Default: images are only normalised. */
  readonly augmentation?: Augmentation | undefined;
  /** Of each channel, of pixels 0 … 1; default 0 and 1. */
  readonly mean?: readonly number[] | undefined;
  readonly std?: readonly number[] | undefined;
  /** A step counter on the device is read when the kernel runs, so that each replay of a capture draws new numbers. */
  readonly random?: RandomSource | undefined;
}

/** The kernel holds the constants of the channels in a vector of four. */
const MAX_CHANNELS = 4;

/**
 * Images of a mini-batch, augmented and normalised: index [n] (u32) → [n, channels, height, width], or the crop's
 * size. An index past the last image reads the last one, and `engine.checkIndices` reports it. The same random source gives the same bits. No gradient.
 * @throws EliError `SHAPE`, `DTYPE` or `ARGUMENT` naming what does not fit.
 */
export function augment(images: ImageBytes, index: Tensor, options: AugmentOptions = {}): Tensor {
  const { augmentation = {}, random = { seed: 0 } } = options;
  const { channels, height, width, count } = images;
  checkImages(images);
  checkDense('augment: the index', index, 'u32', ['n']);
  checkAugmentation(augmentation, images);
  const { mean, std } = normalisation(options, channels);
  const { crop, flip = 0, affine, brightness = 0, cutout = 0, mixup } = augmentation;
  const [outHeight, outWidth] = crop?.size ?? [height, width];
  const n = index.shape[0]!;
  const [part0, part1 = part0] = images.parts;
  const step = stepOf(random, index);
  const perChannel = { scale: std.map((s) => 1 / s), shift: mean.map((m, c) => -m / std[c]!) };
  if (isPlain(augmentation, images)) return plain(images, index, perChannel);
  // The kernel binds a tensor in any case; without maps it is not read.
  const maps = affine ?? part0;
  engineOf('augment', [part0, part1, index, step.tensor, maps]);

  const y = empty(index.engine, [n, channels, outHeight, outWidth]);
  launch1d(y.engine, 'augment/augment.wgsl', n * outHeight * Math.ceil(outWidth / 4), {
    storages: [part0, part1, index, step.tensor, maps, y].map((t) => t.storage),
    overrides: {
      PARTS: images.parts.length,
      AFFINE: affine === undefined ? 0 : 1,
      HOLE: cutout > 0 ? 1 : 0,
      MIX: mixup === undefined ? 0 : 1,
      STEPPED: step.stepped,
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
      ...perChannel,
      fault: faultNumber('augment'),
    },
  });
  return y;
}

/** Whether images stay as they are, and lie so that `augment/plain.wgsl` can read them. */
function isPlain(
  { crop, flip = 0, affine, brightness = 0, cutout = 0, mixup }: Augmentation,
  { parts, height, width }: ImageBytes,
): boolean {
  const [outHeight, outWidth] = crop?.size ?? [height, width];
  const whole = (crop?.padding ?? 0) === 0 && outHeight === height && outWidth === width;
  const unchanged = flip + brightness + cutout === 0 && affine === undefined && mixup === undefined;
  return whole && unchanged && parts.length === 1 && (height * width) % 4 === 0;
}

/** `augment` of images that stay as they are, in about a quarter of the time on software drivers. */
function plain(
  { parts: [part], channels, height, width, count }: ImageBytes,
  index: Tensor,
  perChannel: { readonly scale: readonly number[]; readonly shift: readonly number[] },
): Tensor {
  engineOf('augment', [part, index]);
  const y = empty(index.engine, [index.size, channels, height, width]);
  const plane = (height * width) / 4;
  launch1d(y.engine, 'augment/plain.wgsl', y.size / 4, {
    storages: [part, index, y].map((t) => t.storage),
    params: {
      image: channels * plane,
      plane,
      n: index.size,
      count,
      offset: part.offset,
      index_offset: index.offset,
      ...perChannel,
      fault: faultNumber('augment'),
    },
  });
  return y;
}

/**
 * Targets for images that `augment` mixed with the same α and random source: labels [n] (u32) of the mini-batch → the
 * weight of each class [n, classes] (f32). No gradient.
 * @throws EliError `SHAPE`, `DTYPE` or `ARGUMENT` naming what does not fit.
 */
export function mixedLabels(labels: Tensor, classes: number, alpha: number, random: RandomSource): Tensor {
  checkDense('mixedLabels: the labels', labels, 'u32', ['n']);
  checkAlpha(alpha);
  const step = stepOf(random, labels);
  engineOf('mixedLabels', [labels, step.tensor]);
  const y = empty(labels.engine, [labels.size, classes]);
  launch1d(y.engine, 'augment/mixed_labels.wgsl', y.size, {
    storages: [labels, step.tensor, y].map((t) => t.storage),
    overrides: { STEPPED: step.stepped },
    params: {
      n: labels.size,
      classes,
      labels_offset: labels.offset,
      ...step.params,
      inverse_alpha: 1 / alpha,
      fault: faultNumber('mixedLabels'),
    },
  });
  return y;
}

/** The random source for the kernels. They bind a tensor for the step in any case: `unread` when it is a number. */
function stepOf({ seed, stream = STREAM.augmentation, step = 0 }: RandomSource, unread: Tensor) {
  checkSeed(seed);
  const onDevice = step instanceof Tensor;
  if (onDevice) checkDType('augment', step, 'u32');
  return {
    tensor: onDevice ? step : unread,
    stepped: onDevice ? 1 : 0,
    params: {
      step_offset: onDevice ? step.offset : 0,
      step: onDevice ? 0 : step,
      stream,
      seed_low: seed >>> 0,
      seed_high: Math.floor(seed / 2 ** 32),
    },
  };
}

/** @throws EliError `DTYPE`, or `SHAPE` unless the tensor is dense and of this shape, where a letter is any size. */
function checkDense(
  what: string,
  tensor: Tensor,
  dtype: 'u32' | 'f32',
  shape: readonly (string | number)[],
): void {
  checkDType(what, tensor, dtype);
  const fits = shape.every((size, axis) => typeof size === 'string' || size === tensor.shape[axis]);
  if (tensor.rank === shape.length && fits && tensor.isContiguous) return;
  throw new EliError(
    'SHAPE',
    `${what} has shape ${showShape(tensor.shape)}, expected a dense [${shape.join(', ')}]`,
  );
}

function checkImages({ parts, first, count, channels, height, width }: ImageBytes): void {
  if (!(channels >= 1 && channels <= MAX_CHANNELS)) {
    throw new EliError('ARGUMENT', `augment: images have ${channels} channels, must be 1 to ${MAX_CHANNELS}`);
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
      { hint: 'pack four bytes into each u32 of a dense tensor, below 2 GiB in a part' },
    );
  }
}

function checkAugmentation(augmentation: Augmentation, { height, width }: ImageShape): void {
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
        `augment: a crop of ${size.join('×')} does not fit ${height}×${width} with a padding of ${padding}`,
      );
  }
  checkNumber('augment: flip', flip, SHARE);
  checkNumber('augment: brightness', brightness, SHARE);
  checkWhole('augment: cutout', cutout, 0, 2 ** 15);
  if (mixup !== undefined) checkAlpha(mixup);
  if (affine !== undefined) checkDense('augment: affine', affine, 'f32', ['k', 2, 3]);
}

function checkAlpha(alpha: number): void {
  // Outside this range u^(1/α) overflows or underflows f32, and weights would be 0, ½ or 1 anyway.
  const accepts = (v: number): boolean => v >= 1e-3 && v <= 1e3;
  checkNumber('augment: mixup', alpha, { accepts, words: 'an α from 0.001 to 1000' });
}

/** Mean and std of each channel. @throws EliError `ARGUMENT` unless there is one per channel, finite, std above 0. */
function normalisation(options: AugmentOptions, channels: number) {
  const { mean = new Array<number>(channels).fill(0), std = new Array<number>(channels).fill(1) } = options;
  const valid = mean.every(Number.isFinite) && std.every((s) => s > 0 && Number.isFinite(s));
  if (mean.length !== channels || std.length !== channels || !valid) {
    throw new EliError(
      'ARGUMENT',
      `augment: mean [${mean}] and std [${std}] do not fit images of ${channels} channels`,
      { hint: 'one finite number per channel, std above 0' },
    );
  }
  return { mean, std };
}
