import { formatError } from '../files/files.ts';
import type { ImageData, ImageSet } from './image-set.ts';
import { loadMnist } from './mnist.ts';

/** Classes of Fashion-MNIST (Xiao et al., 2017) by number. */
const NAMES = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
];

/**
 * Loads Fashion-MNIST from a folder with its four IDX files, plain or `.gz`, which have the same names as MNIST's:
 * 60,000 + 10,000 grey images of 28×28. Unlike in MNIST, all classes have the same number of images.
 * @throws EliError `FILE` for a missing folder or file, `FORMAT` for content that is not as expected.
 */
export async function loadFashionMnist(dir: string): Promise<ImageData> {
  const { train, test, source } = await loadMnist({ dir, verify: false });
  return {
    train: checked({ ...train, names: NAMES }, 'train', 60_000, dir),
    test: checked({ ...test, names: NAMES }, 'test', 10_000, dir),
    source,
  };
}

function checked(set: ImageSet, part: string, count: number, dir: string): ImageSet {
  if (set.count !== count || set.height !== 28 || set.width !== 28) {
    throw formatError(
      `${dir}: ${set.count} ${part} images of ${set.height}×${set.width}; Fashion-MNIST has ${count} of 28×28`,
      'download the four files again; other data of the same layout is read by loadMnist',
    );
  }
  const counts = new Array<number>(set.classes).fill(0);
  for (const label of set.labels) counts[label]!++;
  if (counts.some((n) => n !== count / set.classes)) {
    throw formatError(
      `${dir}: the ${part} classes have ${counts.join(', ')} images; Fashion-MNIST has ${count / set.classes} of each`,
      'are these the files of MNIST?',
    );
  }
  return set;
}
