// 12,000 damaged files of latents, read from the disk to the last number: each is read or refused, nothing else.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import { encodeSafetensors } from '../src/files/safetensors.ts';
import { temporaryFolder } from './support/data.ts';
import { fuzz } from './support/fuzz.ts';
import { fromBase64, NUMPY_NPY, NUMPY_NPZ, readAll } from './support/latents.ts';

const folder = temporaryFolder();
const ROUNDS = 4000;
// A flipped bit in the data can make a number infinite: that is said with a code of its own.
const CODES = ['FORMAT', 'FILE', 'NON_FINITE'];

const latents = encodeSafetensors({
  z: { dtype: 'F32', shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  h: { dtype: 'F16', shape: [2, 2], data: Uint16Array.of(1, 2, 3, 4) },
});

for (const [extension, seeds, member] of [
  ['npy', Object.values(NUMPY_NPY).map(fromBase64), ''],
  ['npz', Object.values(NUMPY_NPZ).map(fromBase64), ':z'],
  ['safetensors', [latents], ':z'],
] as const) {
  test(`${ROUNDS} damaged .${extension} files`, async () => {
    let number = 0;
    await fuzz(
      extension,
      seeds,
      ROUNDS,
      async (bytes) => {
        // A new file each time: some file systems write at once what replaces an older file.
        const path = join(folder, `${number++}.${extension}`);
        writeFileSync(path, bytes);
        try {
          await readAll(path + member, 2);
        } finally {
          rmSync(path);
        }
      },
      CODES,
    );
  });
}

test.run();
