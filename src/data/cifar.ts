import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EliError } from '../errors.ts';
import { formatError, readFileBytes, system } from '../files/files.ts';
import type { ImageData, ImageSet } from './image-set.ts';

/** The two data sets; CIFAR-100 with its 100 classes or their 20 superclasses as labels. */
export type CifarKind = 'cifar10' | 'cifar100' | 'cifar100-coarse';

const SIDE = 32;
const CHANNELS = 3;
const PIXELS = CHANNELS * SIDE * SIDE;

const CIFAR10 = {
  /** The bytes before the pixels of a record. */
  labels: [{ what: 'label', classes: 10 }],
  /** Which of them is the label. */
  taken: 0,
  /** Name of the folder in the official archive. */
  folder: 'cifar-10-batches-bin',
  train: [1, 2, 3, 4, 5].map((k) => `data_batch_${k}.bin`),
  test: 'test_batch.bin',
  /** Optional text file with one class name per line. */
  names: 'batches.meta.txt',
};
type Layout = typeof CIFAR10;
const CIFAR100: Layout = {
  labels: [
    { what: 'coarse label', classes: 20 },
    { what: 'fine label', classes: 100 },
  ],
  taken: 1,
  folder: 'cifar-100-binary',
  train: ['train.bin'],
  test: 'test.bin',
  names: 'fine_label_names.txt',
};
const LAYOUTS: Readonly<Record<CifarKind, Layout>> = {
  cifar10: CIFAR10,
  cifar100: CIFAR100,
  'cifar100-coarse': { ...CIFAR100, taken: 0, names: 'coarse_label_names.txt' },
};

const recordOf = (layout: Layout): number => layout.labels.length + PIXELS;

/**
 * Reads CIFAR-10 or CIFAR-100 (Krizhevsky, 2009) in its binary layout from a folder: the official files, or any number
 * of images in files of those names. `dir` may also be the folder where the archive was unpacked. Images have the shape
 * [3, 32, 32].
 * @throws EliError `FILE` for what is missing or cannot be read, `FORMAT` for content that is not as expected.
 */
export async function loadCifar(dir: string, kind: CifarKind): Promise<ImageData> {
  const layout = layoutOf(kind);
  const { folder, present } = await findFolder(dir, layout);
  const wanted = [...layout.train, layout.test];
  const missing = wanted.filter((name) => !present.has(name));
  if (missing.length > 0) {
    throw new EliError('FILE', `${folder} lacks files of ${kind}; missing: ${missing.join(', ')}`, {
      hint: `unpack the "binary version" of the data set (folder ${layout.folder}) there`,
    });
  }
  const names = present.has(layout.names) ? await readNames(join(folder, layout.names), layout) : undefined;
  const paths = layout.train.map((name) => join(folder, name));
  const train = await readCifar(paths, kind);
  const test = await readCifar([join(folder, layout.test)], kind);
  return { train: { ...train, names }, test: { ...test, names }, source: folder };
}

/**
 * The images of several files in the binary layout of `kind`, concatenated.
 * @throws EliError `FILE` when one cannot be read, `FORMAT` when one has another layout, `ARGUMENT` when there is none.
 */
export async function readCifar(paths: readonly string[], kind: CifarKind): Promise<ImageSet> {
  if (paths.length === 0) throw new EliError('ARGUMENT', 'readCifar was given no file');
  const parts: ImageSet[] = [];
  for (const path of paths) parts.push(parseCifar(await readFileBytes(path), kind, path));
  if (parts.length === 1) return parts[0]!;
  const concat = (arrays: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(arrays));
  return {
    ...parts[0]!,
    images: concat(parts.map((part) => part.images)),
    labels: concat(parts.map((part) => Uint8Array.from(part.labels))),
    count: parts.reduce((sum, part) => sum + part.count, 0),
  };
}

/**
 * Parses records of one or two label bytes and 3072 bytes of red, green and blue planes, each 32×32 row-major.
 * @param name of the file, for messages.
 * @throws EliError `FORMAT` for no record, a length that is not a multiple of a record, or a label out of range.
 */
export function parseCifar(bytes: Uint8Array, kind: CifarKind, name: string): ImageSet {
  const layout = layoutOf(kind);
  const record = recordOf(layout);
  if (bytes.length === 0 || bytes.length % record !== 0) {
    const other = layout.labels.length === 1 ? 'cifar100' : 'cifar10';
    const fits = bytes.length > 0 && bytes.length % recordOf(LAYOUTS[other]) === 0;
    throw formatError(
      `${name}: ${bytes.length} bytes, expected a multiple of ${record}, the length of a ${kind} record ` +
        `(${layout.labels.map((label) => label.what).join(', ')}, ${PIXELS} pixels)`,
      fits ? `it would fit ${other}` : 'the file is cut off, damaged or of another format',
    );
  }
  const count = bytes.length / record;
  const images = new Uint8Array(count * PIXELS);
  const labels = new Uint8Array(count);
  for (let image = 0; image < count; image++) {
    const start = image * record;
    for (const [place, { what, classes }] of layout.labels.entries()) {
      const value = bytes[start + place]!;
      if (value < classes) continue;
      throw formatError(
        `${name}: ${what} of image ${image} (byte ${start + place}) is ${value}, expected 0 to ${classes - 1}`,
        'the file is damaged or of another format',
      );
    }
    labels[image] = bytes[start + layout.taken]!;
    images.set(bytes.subarray(start + layout.labels.length, start + record), image * PIXELS);
  }
  const { classes } = layout.labels[layout.taken]!;
  return { images, labels, count, channels: CHANNELS, height: SIDE, width: SIDE, classes };
}

function layoutOf(kind: CifarKind): Layout {
  const layout = Object.hasOwn(LAYOUTS, kind) ? LAYOUTS[kind] : undefined;
  if (layout === undefined) {
    throw new EliError('ARGUMENT', `"${kind}" is not one of ${Object.keys(LAYOUTS).join(', ')}`);
  }
  return layout;
}

/** `dir`, or the archive's folder in it, with the names of the files there. */
async function findFolder(dir: string, layout: Layout): Promise<{ folder: string; present: Set<string> }> {
  const list = async (folder: string) => new Set(await system('read', folder, () => readdir(folder)));
  const present = await list(dir);
  if (present.has(layout.test) || !present.has(layout.folder)) return { folder: dir, present };
  const folder = join(dir, layout.folder);
  return { folder, present: await list(folder) };
}

async function readNames(path: string, layout: Layout): Promise<string[]> {
  const text = new TextDecoder().decode(await readFileBytes(path));
  const lines = text.split('\n').map((line) => line.trim());
  const names = lines.filter((line) => line !== '');
  const { classes } = layout.labels[layout.taken]!;
  if (names.length !== classes) {
    throw formatError(
      `${path} has ${names.length} class names, expected ${classes}`,
      'one name per line; the file is optional',
    );
  }
  return names;
}
