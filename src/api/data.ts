/** Image data sets, augmentation, and files of arrays: safetensors, .npy, .npz. */
export { type AffineRanges, affineMap, affineMaps } from '../data/affine.ts';
export * from '../data/augment.ts';
export { type CifarKind, loadCifar, readCifar } from '../data/cifar.ts';
export { loadFashionMnist } from '../data/fashion.ts';
export { ImageSamples, type ImageSamplesOptions } from '../data/image-samples.ts';
export {
  type ChannelStatistics,
  channelStatistics,
  type ImageData,
  type ImageSet,
  selectClasses,
} from '../data/image-set.ts';
export type { FloatDtype } from '../files/floats.ts';
export { type ByteSource, InputFile } from '../files/input.ts';
export { type LatentSource, openLatents } from '../files/latents.ts';
export { writeNpy } from '../files/npy.ts';
export * from '../files/safetensors.ts';
