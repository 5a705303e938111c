// CIFAR and Fashion-MNIST from folders: real records, folders in which something is wrong, damaged files; image sets.
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type CifarKind, loadCifar, parseCifar, readCifar } from '../src/data/cifar.ts';
import { loadFashionMnist } from '../src/data/fashion.ts';
import { channelStatistics, type ImageSet, selectClasses } from '../src/data/image-set.ts';
import { findMnistPackage } from '../src/data/mnist.ts';
import { compare } from './support/compare.ts';
import { fails, idxBytes, sameBytes, temporaryFolder } from './support/data.ts';

const SAMPLE = fileURLToPath(new URL('../data/cifar100', import.meta.url));
const folder = temporaryFolder();
let number = 0;

function newFolder(): string {
  const dir = join(folder, String(number++));
  mkdirSync(dir);
  return dir;
}

/** A record of these labels whose pixels count from `first`. */
const record = (labels: readonly number[], first: number): number[] => [
  ...labels,
  ...Array.from({ length: 3072 }, (_, i) => (first + i) % 256),
];

/** The six files of CIFAR-10 with one image each, labels 0 … 5. */
function cifar10(dir: string): string {
  [1, 2, 3, 4, 5].forEach((k) => {
    writeFileSync(join(dir, `data_batch_${k}.bin`), Uint8Array.from(record([k - 1], k)));
  });
  writeFileSync(join(dir, 'test_batch.bin'), Uint8Array.from(record([5], 6)));
  return dir;
}

test('records of CIFAR-100: shapes, labels, names, pixels', async () => {
  const { train, test: held, source } = await loadCifar(SAMPLE, 'cifar100');
  assert.is(source, SAMPLE);
  for (const [set, count] of [
    [train, 40],
    [held, 20],
  ] as const) {
    assert.equal([set.count, set.channels, set.height, set.width, set.classes], [count, 3, 32, 32, 100]);
    assert.equal([set.images.length, set.labels.length, set.names?.length], [count * 3072, count, 100]);
    assert.ok([...set.labels].every((label) => label % 5 === 0));
    const perClass = count / 20;
    for (let k = 0; k < 100; k += 5) assert.is(set.labels.filter((label) => label === k).length, perClass);
  }
  assert.equal([train.names?.[0], train.names?.[95]], ['apple', 'whale']);
  const bytes = new Uint8Array(readFileSync(join(SAMPLE, 'train.bin')));
  for (const i of [0, 1, 39]) {
    assert.is(train.labels[i], bytes[3074 * i + 1]);
    sameBytes(train.images.subarray(3072 * i, 3072 * (i + 1)), bytes.subarray(3074 * i + 2, 3074 * (i + 1)));
  }
});

test('the superclasses are the other label, of 20', async () => {
  const fine = await loadCifar(SAMPLE, 'cifar100');
  const coarse = await loadCifar(SAMPLE, 'cifar100-coarse');
  assert.equal([coarse.train.classes, coarse.train.names?.length], [20, 20]);
  sameBytes(coarse.train.images, fine.train.images);
  // Of the data set's page: apples are fruit, whales aquatic mammals.
  const superclass = (name: string): string | undefined => {
    const image = fine.train.labels.indexOf(fine.train.names!.indexOf(name));
    return coarse.train.names![coarse.train.labels[image]!];
  };
  assert.equal([superclass('apple'), superclass('whale')], ['fruit_and_vegetables', 'aquatic_mammals']);
});

test('CIFAR-10: five files one after the other, and the folder in which the archive was unpacked', async () => {
  const parent = newFolder();
  const dir = join(parent, 'cifar-10-batches-bin');
  mkdirSync(dir);
  cifar10(dir);
  const direct = await loadCifar(dir, 'cifar10');
  assert.equal([direct.train.count, direct.test.count, direct.train.classes], [5, 1, 10]);
  assert.equal([...direct.train.labels], [0, 1, 2, 3, 4]);
  assert.equal(
    [0, 3072, 4 * 3072 + 1].map((i) => direct.train.images[i]),
    [1, 2, 6],
  );
  assert.is(direct.train.names, undefined);
  assert.equal(await loadCifar(parent, 'cifar10'), direct);
  const names = 'airplane automobile bird cat deer dog frog horse ship truck'.split(' ');
  // The official file ends in an empty line.
  writeFileSync(join(dir, 'batches.meta.txt'), `${names.join('\n')}\n\n`);
  assert.equal((await loadCifar(parent, 'cifar10')).test.names, names);
  writeFileSync(join(dir, 'batches.meta.txt'), names.slice(1).join('\r\n'));
  await fails(() => loadCifar(dir, 'cifar10'), 'FORMAT', /batches.meta.txt has 9 class names, expected 10/);
});

test('wrong lengths, labels, folders and kinds', async () => {
  const ten = (bytes: ArrayLike<number>) => () => parseCifar(Uint8Array.from(bytes), 'cifar10', 'a.bin');
  await fails(
    ten([]),
    'FORMAT',
    /a.bin: 0 bytes, expected a multiple of 3073, the length of a cifar10 record/,
    /cut off/,
  );
  await fails(ten(record([1], 0).slice(1)), 'FORMAT', /3072 bytes, expected a multiple of 3073/);
  await fails(ten(record([1, 2], 0)), 'FORMAT', /3074 bytes/, /it would fit cifar100/);
  const hundred = (...labels: number[]) =>
    parseCifar(Uint8Array.from(record(labels, 0)), 'cifar100', 'b.bin');
  await fails(
    () => hundred(1),
    'FORMAT',
    /multiple of 3074, .*coarse label, fine label/,
    /it would fit cifar10/,
  );
  await fails(ten([...record([9], 0), ...record([10], 0)]), 'FORMAT', /label of image 1 \(byte 3073\) is 10/);
  await fails(() => hundred(20, 0), 'FORMAT', /coarse label of image 0 \(byte 0\) is 20, expected 0 to 19/);
  await fails(() => hundred(19, 100), 'FORMAT', /fine label of image 0 \(byte 1\) is 100, expected 0 to 99/);
  assert.is(hundred(19, 99).labels[0], 99);
  const dir = newFolder();
  copyFileSync(join(SAMPLE, 'train.bin'), join(dir, 'train.bin'));
  await fails(() => loadCifar(dir, 'cifar100'), 'FILE', /missing: test.bin/, /cifar-100-binary/);
  await fails(() => loadCifar(dir, 'cifar10'), 'FILE', /missing: data_batch_1.bin, .*test_batch.bin/);
  await fails(() => loadCifar(join(dir, 'no'), 'cifar10'), 'FILE', /no such file or folder/);
  await fails(() => loadCifar(join(dir, 'train.bin'), 'cifar10'), 'FILE', /not a folder/);
  await fails(() => readCifar([], 'cifar10'), 'ARGUMENT', /no file/);
  await fails(
    () => loadCifar(dir, 'cifar' as CifarKind),
    'ARGUMENT',
    /"cifar" is not one of cifar10, cifar100/,
  );
  await fails(() => loadCifar(dir, 'toString' as CifarKind), 'ARGUMENT', /not one of/);
});

test('classes of a task: relabelled by place, with their names', async () => {
  const { train } = await loadCifar(SAMPLE, 'cifar100');
  const task = selectClasses(train, [95, 0]);
  assert.equal([task.count, task.classes, task.names], [4, 2, ['whale', 'apple']]);
  const places = [...train.labels.keys()].filter((i) => train.labels[i] === 0 || train.labels[i] === 95);
  assert.equal(
    [...task.labels],
    places.map((i) => (train.labels[i] === 95 ? 0 : 1)),
  );
  places.forEach((from, to) => {
    const at = (i: number): [number, number] => [3072 * i, 3072 * (i + 1)];
    sameBytes(task.images.subarray(...at(to)), train.images.subarray(...at(from)));
  });
  for (const classes of [[], [100], [-1], [0, 0], [0.5]])
    await fails(() => selectClasses(train, classes), 'ARGUMENT', /different classes of 0 to 99/);
  await fails(() => selectClasses(train, [1]), 'ARGUMENT', /none of the 40 images/);
});

test('statistics of channels: by hand, and as numbers of the pixels', async () => {
  const grey: ImageSet = {
    images: Uint8Array.of(0, 255, 51, 51, 102, 102, 0, 204),
    labels: new Uint8Array(2),
    count: 2,
    channels: 2,
    height: 1,
    width: 2,
    classes: 1,
  };
  // Channel 0: 0, 1, 0.4, 0.4; channel 1: 0.2, 0.2, 0, 0.8.
  const { mean, std } = channelStatistics(grey);
  compare(mean, [0.45, 0.3], { abs: 1e-12, rel: 0 }, 'mean');
  compare(std, [Math.sqrt(0.1275), 0.3], { abs: 1e-12, rel: 0 }, 'std');
  // Of all of CIFAR-100 they are 0.507, 0.487, 0.441; forty images lie near.
  const found = channelStatistics((await loadCifar(SAMPLE, 'cifar100')).train);
  [0.507, 0.487, 0.441].forEach((want, c) => {
    assert.ok(Math.abs(found.mean[c]! - want) < 0.08, `channel ${c}: ${found.mean[c]}`);
  });
});

const IDX = [
  'train-images-idx3-ubyte',
  'train-labels-idx1-ubyte',
  't10k-images-idx3-ubyte',
  't10k-labels-idx1-ubyte',
];

/** A folder with files of Fashion-MNIST's sizes; `labelOf` says the label of each training image. */
function fashion(labelOf: (i: number) => number, count = 60_000): string {
  const dir = newFolder();
  const parts = [
    idxBytes([count, 28, 28], new Uint8Array(count * 784).fill(7)),
    idxBytes(
      [count],
      Uint8Array.from({ length: count }, (_, i) => labelOf(i)),
    ),
    idxBytes([10_000, 28, 28], new Uint8Array(7_840_000)),
    idxBytes(
      [10_000],
      Uint8Array.from({ length: 10_000 }, (_, i) => i % 10),
    ),
  ];
  parts.forEach((bytes, i) => {
    writeFileSync(join(dir, IDX[i]!), bytes);
  });
  return dir;
}

test('Fashion-MNIST from a folder; MNIST and other counts are told apart', async () => {
  const dir = fashion((i) => i % 10);
  const { train, test: held, source } = await loadFashionMnist(dir);
  assert.is(source, dir);
  assert.equal(
    [train.count, train.channels, train.height, train.width, train.classes],
    [60_000, 1, 28, 28, 10],
  );
  assert.equal([held.count, train.names?.[9], train.images[0]], [10_000, 'Ankle boot', 7]);
  const uneven = fashion((i) => (i === 0 ? 1 : i % 10));
  await fails(
    () => loadFashionMnist(uneven),
    'FORMAT',
    /train classes have 5999, 6001, 6000/,
    /files of MNIST/,
  );
  const small = fashion((i) => i % 10, 20);
  await fails(() => loadFashionMnist(small), 'FORMAT', /20 train images of 28×28; Fashion-MNIST has 60000/);
  const mnist = findMnistPackage().dir;
  await fails(() => loadFashionMnist(mnist), 'FORMAT', /train classes have 5923, 6742/);
});

test.run();
