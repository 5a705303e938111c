// .npz files: ZIP archives of .npy members, stored, deflated and ZIP64; damaged and foreign ones are refused.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openLatents } from '../src/files/latents.ts';
import { npyHeader } from '../src/files/npy.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { fromBase64, NUMPY_FLOATS, NUMPY_NPZ, readAll } from './support/latents.ts';
import { zip } from './support/zip.ts';

const folder = temporaryFolder();
let number = 0;

function file(bytes: Uint8Array): string {
  const path = join(folder, `${number++}.npz`);
  writeFileSync(path, bytes);
  return path;
}

const floats = Float32Array.from({ length: 5000 * 8 }, (_, i) => Math.sin(i));
const array = Buffer.concat([npyHeader([5000, 8]), new Uint8Array(floats.buffer)]);

for (const [kind, text] of Object.entries(NUMPY_NPZ)) {
  test(`NumPy's archive, ${kind}, is read to the bit`, async () => {
    const path = file(fromBase64(text));
    for (const [key, wanted] of [
      ['z', NUMPY_FLOATS.f4],
      ['h.npy', NUMPY_FLOATS.f2],
    ] as const) {
      const got = await readAll(`${path}:${key}`, 1);
      wanted.forEach((value, i) => {
        assert.ok(Object.is(got[i], value), `${key}, number ${i} is ${got[i]}, expected ${value}`);
      });
    }
    await fails(
      () => openLatents(path),
      'FORMAT',
      /which array is meant; it has 2: z.npy, h.npy/,
      /→ .*:z\.npy/,
    );
    await fails(() => openLatents(`${path}:y`), 'FORMAT', /no array y.npy; it has 2/);
  });
}

test('members of any make, whole and twice, in batches of any size', async () => {
  for (const options of [
    {},
    { deflated: true },
    { zip64: true },
    { zip64: true, end64: true, deflated: true },
    { end64: true, comment: 'a comment' },
  ]) {
    const source = await openLatents(file(zip(['a.npy'], array, options)));
    for (const rows of [5000, 333]) {
      let done = 0;
      for await (const batch of source.batches(rows)) {
        assert.equal(batch, floats.slice(done, done + rows * 8), JSON.stringify(options));
        done += batch.length;
      }
      assert.is(done, floats.length);
    }
    // A reader that stops early leaves nothing open that would keep the process alive.
    for await (const batch of source.batches(10)) {
      assert.is(batch.length, 80);
      break;
    }
    await source.close();
  }
});

const REFUSED: readonly (readonly [name: string, bytes: Uint8Array, ...patterns: RegExp[]])[] = [
  [
    'no archive',
    Buffer.from('PK but no more than that'),
    /End of central directory record signature not found/,
  ],
  ['an empty file', Buffer.alloc(0), /End of central directory/],
  ['an archive without arrays', zip(['a.txt'], array), /it has 0/],
  ['cut off at the end', zip(['a.npy'], array).subarray(0, -5), /End of central directory/],
  [
    'the signature of the directory in the comment',
    zip(['a.npy'], array, { comment: 'PK\x05\x06 in a comment, and more of it after' }),
    /Invalid comment length/,
  ],
  [
    'encrypted',
    zip(['a.npy'], array, { deflated: true, says: { flags: 1 } }),
    /a\.npy is encrypted/,
    /without a password/,
  ],
  ['packed by another method', zip(['a.npy'], array, { says: { method: 14 } }), /packed by method 14/],
  ['two members of one name', zip(['a.npy', 'a.npy'], array), /two members "a.npy"/],
  [
    'a wrong checksum',
    zip(['a.npy'], array, { says: { crc: 7 } }),
    /member a\.npy: its checksum \(CRC-32\) is wrong/,
  ],
  ['a wrong checksum, deflated', zip(['a.npy'], array, { deflated: true, says: { crc: 7 } }), /checksum/],
  [
    'stored, of two sizes',
    zip(['a.npy'], array, { says: { packed: 99 } }),
    /size mismatch for stored file: 99 != 160128/,
  ],
  [
    'a member beyond the end',
    zip(['a.npy'], array, { deflated: true, says: { packed: 1e9 } }),
    /a\.npy: file data overflows file bounds: 38 \+ 1000000000/,
  ],
  ['a member elsewhere', zip(['a.npy'], array, { says: { offset: 5 } }), /a\.npy: invalid local file header/],
  ['a member beyond the file', zip(['a.npy'], array, { says: { offset: 1e9 } }), /from byte 1000000000/],
  ['a member of 2^60 bytes', bigMember(), /size mismatch for stored file: 160128 != 1152921504606847000/],
  ['a ZIP64 offset of 2^63', brokenLocator(), /cannot read 56 from byte 9223372036854776000/],
  ['text in place of deflated data', garbled(), /member a\.npy: invalid/],
  [
    'a member of terabytes that unpacks to less',
    zip(['a.npy'], array, { zip64: true, deflated: true, says: { bytes: 2 ** 42 } }),
    /takes 160000 bytes, the file has 4398046510976/,
  ],
  [
    'a member that unpacks to more than it says',
    zip(['a.npy'], Buffer.concat([array, Buffer.alloc(50 << 20)]), {
      deflated: true,
      says: { bytes: array.length, crc: crc32(array) },
    }),
    /a\.npy: too many bytes in the stream. expected 160128/,
  ],
];

function bigMember(): Buffer {
  const bytes = zip(['a.npy'], array, { zip64: true });
  bytes.writeBigUInt64LE(2n ** 60n, bytes.length - 22 - 24);
  return bytes;
}

function brokenLocator(): Buffer {
  const bytes = zip(['a.npy'], array, { end64: true });
  bytes.writeBigUInt64LE(2n ** 63n, bytes.length - 22 - 12);
  return bytes;
}

function garbled(): Buffer {
  const bytes = zip(['a.npy'], array, { deflated: true });
  bytes.fill('text', 40, 4000);
  return bytes;
}

for (const [name, bytes, ...patterns] of REFUSED) {
  test(`refused: ${name}`, async () => {
    await fails(() => readAll(file(bytes)), 'FORMAT', ...patterns);
  });
}

test('a directory larger than any archive of arrays has', async () => {
  const names = Array.from({ length: 12_000 }, (_, i) => `${i}.npy`.padStart(1500));
  const bytes = zip(names, new Uint8Array(0), { end64: true });
  await fails(() => readAll(file(bytes)), 'FORMAT', /its directory is larger than 16 MiB/);
});

test.run();
