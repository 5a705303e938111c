// IDX files: good ones, plain and gzipped, and every way in which one can be wrong.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseIdx, unpackIdx } from '../src/data/idx.ts';
import { readFileBytes } from '../src/files/files.ts';
import { fails, idxBytes, sameBytes, temporaryFolder } from './support/data.ts';

const folder = temporaryFolder();
const readIdx = async (path: string) => parseIdx(await unpackIdx(await readFileBytes(path), path), path);
const cube = idxBytes([2, 1, 3], [1, 2, 3, 4, 5, 255]);

async function read(
  bytes: Uint8Array,
  name = 'x-ubyte',
): Promise<{ shape: readonly number[]; data: Uint8Array }> {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return readIdx(path);
}

test('one, three and eight dimensions', async () => {
  const line = await read(idxBytes([4], [9, 8, 7, 6]));
  assert.equal(line.shape, [4]);
  assert.equal([...line.data], [9, 8, 7, 6]);
  const solid = await read(cube);
  assert.equal(solid.shape, [2, 1, 3]);
  assert.equal([...solid.data], [1, 2, 3, 4, 5, 255]);
  assert.equal((await read(idxBytes([1, 1, 1, 1, 1, 1, 1, 2], [3, 4]))).shape, [1, 1, 1, 1, 1, 1, 1, 2]);
});

test('gzipped, whatever the name says', async () => {
  for (const name of ['x-ubyte', 'x-ubyte.gz']) {
    assert.equal([...(await read(gzipSync(cube), name)).data], [1, 2, 3, 4, 5, 255]);
    assert.equal([...(await read(cube, name)).data], [1, 2, 3, 4, 5, 255]);
  }
  // Many pieces of output, and a header shorter than the first of them.
  const long = idxBytes(
    [3, 100_000],
    Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) >> 3),
  );
  sameBytes(await unpackIdx(gzipSync(long), 'x'), long);
});

test('cut off or too long', async () => {
  for (let length = 0; length < cube.length; length++) {
    await fails(() => parseIdx(cube.subarray(0, length), 'cut'), 'FORMAT', /^cut/);
    await fails(() => read(gzipSync(cube.subarray(0, length))), 'FORMAT', /x-ubyte/);
  }
  await fails(
    () => read(cube.subarray(0, -1)),
    'FORMAT',
    /\[2,1,3\], that is 22 bytes in all; found 21/,
    /cut off/,
  );
  const longer = new Uint8Array([...cube, 0]);
  await fails(() => read(longer), 'FORMAT', /22 bytes in all; found 23/);
  await fails(() => read(gzipSync(longer)), 'FORMAT', /22 bytes in all; found more/);
  await fails(() => read(gzipSync(cube).subarray(0, -9)), 'FORMAT', /gzip data is damaged or cut off/);
  const flipped = gzipSync(cube);
  flipped[flipped.length - 6]! ^= 1; // in the checksum
  await fails(() => read(flipped), 'FORMAT', /gzip data is damaged/);
});

test('another magic number, type or number of dimensions', async () => {
  await fails(
    () => read(new TextEncoder().encode('PK\u0003\u0004 a zip file')),
    'FORMAT',
    /begins with 50 4b 03 04/,
  );
  await fails(() => read(idxBytes([1], [0, 0, 0, 0], 13)), 'FORMAT', /float32 \(code 13\), expected uint8/);
  await fails(() => read(idxBytes([1], [0], 7)), 'FORMAT', /begins with 00 00 07 01/);
  await fails(() => read(idxBytes([], [])), 'FORMAT', /0 dimensions/);
  await fails(() => read(idxBytes(Array(9).fill(1), [0])), 'FORMAT', /9 dimensions, expected 1 to 8/);
});

test('empty and huge sizes take no memory', async () => {
  await fails(() => read(idxBytes([3, 0], [])), 'FORMAT', /empty/);
  await fails(() => read(idxBytes([0xffffffff, 0xffffffff, 0xffffffff], [1])), 'FORMAT', /needs over/);
  await fails(() => read(idxBytes([0xffffffff, 2], [1])), 'FORMAT', /needs over/);
  await fails(() => read(idxBytes([0x7f000000], [1])), 'FORMAT', /found 9/);
  // A small archive that promises much, and one that holds much more than it promises.
  const before = process.memoryUsage().rss;
  await fails(
    () => read(gzipSync(idxBytes([0x7f000000], [1]))),
    'FORMAT',
    /bytes in all; found 9/,
    /cut off/,
  );
  const bomb = gzipSync(idxBytes([10], new Uint8Array(64 << 20)));
  const afterMaking = process.memoryUsage().rss;
  await fails(() => read(bomb), 'FORMAT', /18 bytes in all; found more/);
  assert.ok(process.memoryUsage().rss - Math.max(before, afterMaking) < 16 << 20);
});

test('files that cannot be read', async () => {
  await fails(() => readIdx(join(folder, 'none')), 'FILE', /none/, /no such file/);
  await fails(() => readIdx(folder), 'FILE', /it is a folder/);
  if (process.platform !== 'win32') await fails(() => readIdx('/dev/zero'), 'FILE', /device/);
});

test.run();
