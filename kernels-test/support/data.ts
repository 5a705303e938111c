import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { EliError } from '../../src/errors.ts';

/** A folder of its own for one test file, removed when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'eli-data-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** That `action` fails with an `EliError` of this code whose text matches each pattern. */
export async function fails(action: () => unknown, code: string, ...patterns: RegExp[]): Promise<void> {
  let error: unknown;
  try {
    await action();
  } catch (thrown) {
    error = thrown;
  }
  assert.instance(error, EliError, `expected an EliError, got ${error}`);
  assert.is((error as EliError).code, code, String(error));
  for (const pattern of patterns) assert.match((error as EliError).message, pattern);
}

/** That both hold the same bytes; a difference is said by its place, as the arrays may be long. */
export function sameBytes(got: Uint8Array, want: Uint8Array): void {
  assert.is(got.length, want.length, 'number of bytes');
  const at = got.findIndex((byte, index) => byte !== want[index]);
  assert.is(at, -1, `byte ${at} is ${got[at]}, expected ${want[at]}`);
}

/** The bytes of an IDX file; `shape` is written as given, also where it does not fit the data. */
export function idxBytes(shape: readonly number[], data: ArrayLike<number>, type = 8): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0, 0, type, shape.length]);
  shape.forEach((size, axis) => {
    view.setUint32(4 + 4 * axis, size);
  });
  bytes.set(data, 4 + 4 * shape.length);
  return bytes;
}

/** A seeded generator of whole numbers 0 … n − 1 (mulberry32). */
export function randomInts(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return Math.floor((((x ^ (x >>> 14)) >>> 0) / 2 ** 32) * n);
  };
}
