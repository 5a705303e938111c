// Latents in safetensors files, halves, names of files, and work that overlaps.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { floatsOf, halvesToFloats, upperHalvesToFloats } from '../src/files/floats.ts';
import { InputFile } from '../src/files/input.ts';
import { openLatents } from '../src/files/latents.ts';
import { prefetch } from '../src/files/prefetch.ts';
import {
  encodeSafetensors,
  readSafetensors,
  readSafetensorsLayout,
  type SafetensorsInput,
} from '../src/files/safetensors.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { readAll, saveNpy } from './support/latents.ts';

const folder = temporaryFolder();

/** A half after IEEE 754, by arithmetic. */
function half(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

test('all 65,536 halves are exact', () => {
  const all = halvesToFloats(Uint16Array.from({ length: 65_536 }, (_, i) => i));
  assert.is(all.length, 65_536);
  all.forEach((value, bits) => {
    assert.ok(Object.is(value, half(bits)), `0x${bits.toString(16)} is ${value}, expected ${half(bits)}`);
  });
});

test('all 65,536 bfloat16 are the upper halves of floats', () => {
  const all = upperHalvesToFloats(Uint16Array.from({ length: 65_536 }, (_, i) => i));
  const bits = new Uint32Array(all.buffer);
  bits.forEach((value, i) => {
    assert.is(value, i * 65_536);
  });
});

test('float64 is rounded to the nearest, bytes may start anywhere', () => {
  const values = [0.1, 1 + 2 ** -24, 1 + 3 * 2 ** -24, 2 ** -149, 2 ** -151, -3.4e38, 1e300];
  const bytes = new Uint8Array(8 * values.length + 3);
  bytes.set(new Uint8Array(Float64Array.from(values).buffer), 3);
  assert.equal([...floatsOf('F64', bytes.subarray(3))], values.map(Math.fround));
});

const [n, d] = [257, 5];
const numbers = Float32Array.from({ length: n * d }, (_, i) => Math.fround(Math.cos(i)));
const tensors: Record<string, SafetensorsInput> = {
  f64: { dtype: 'F64', shape: [n, d], data: Float64Array.from(numbers, (v) => v + 1e-12) },
  f32: { dtype: 'F32', shape: [n, d], data: numbers },
  bf16: {
    dtype: 'BF16',
    shape: [n, d],
    data: Uint16Array.from(new Uint32Array(numbers.slice().buffer), (b) => b >> 16),
  },
  f16: { dtype: 'F16', shape: [n, d], data: Uint16Array.from({ length: n * d }, (_, i) => i) },
  odd: { dtype: 'U8', shape: [3], data: new Uint8Array(3) },
  'layer:0': { dtype: 'F32', shape: [1, 2], data: Float32Array.of(1, 2) },
};
const path = join(folder, 'all.SafeTensors');
writeFileSync(path, encodeSafetensors(tensors));

test('a tensor of a safetensors file is streamed to what the whole file gives', async () => {
  for (const rows of [1, 100, 1000]) {
    assert.equal(await readAll(`${path}:f32`, rows), numbers);
    assert.equal(await readAll(`${path}:f64`, rows), numbers);
    assert.equal(
      [...(await readAll(`${path}:f16`, rows))],
      Array.from({ length: n * d }, (_, i) => half(i)),
    );
    const cut = Uint32Array.from(new Uint32Array(numbers.slice().buffer), (b) => b & 0xffff0000);
    assert.equal(await readAll(`${path}:bf16`, rows), new Float32Array(cut.buffer));
  }
  assert.equal([...(await readAll(`${path}:layer:0`))], [1, 2]);
});

test('the layout of a file is where its tensors are', async () => {
  const file = await InputFile.open(path);
  const layout = await readSafetensorsLayout(file);
  const whole = await readSafetensors(path);
  assert.equal(Object.keys(layout).sort(), Object.keys(whole.tensors).sort());
  for (const [name, { dtype, shape, start, bytes }] of Object.entries(layout)) {
    const { data, ...rest } = whole.tensors[name]!;
    assert.equal({ dtype, shape }, rest);
    const raw = await file.read(start, bytes);
    assert.equal(raw, new Uint8Array(data.buffer, data.byteOffset, data.byteLength), name);
  }
  await file.close();
});

test('refused: which tensor, what dtype, what shape, what file', async () => {
  await fails(() => openLatents(path), 'FORMAT', /which tensor is meant; it has 6: f64, /);
  await fails(() => openLatents(`${path}:no`), 'FORMAT', /has no tensor no; it has 6/);
  await fails(() => openLatents(`${path}:__proto__`), 'FORMAT', /has no tensor __proto__/);
  await fails(() => openLatents(`${path}:odd`), 'FORMAT', /odd is U8, expected F16, BF16, F32 or F64/);
  const one = join(folder, 'one.safetensors');
  writeFileSync(one, encodeSafetensors({ x: { dtype: 'F32', shape: [4], data: new Float32Array(4) } }));
  await fails(() => openLatents(one), 'FORMAT', /one\.safetensors:x has the shape \[4\], expected \[n, d\]/);
  const text = join(folder, 'latents.csv');
  writeFileSync(text, '1,2\n');
  await fails(() => openLatents(text), 'FORMAT', /not named .npy, .npz or .safetensors/, /numpy.save/);
  await fails(() => openLatents(join(folder, 'missing.npy')), 'FILE', /missing\.npy/, /no such file/);
  await fails(() => openLatents(join(folder, 'missing.npz:x')), 'FILE', /missing\.npz:/, /no such file/);
  mkdirSync(join(folder, 'dir.npy'));
  await fails(() => openLatents(join(folder, 'dir.npy')), 'FILE', /it is a folder/);
});

test('refused: a safetensors header longer than the file, or than the limit', async () => {
  const bytes = Buffer.alloc(64);
  for (const [length, said] of [
    [1000n, /header of 1000 bytes, but only 56 bytes follow/],
    [2n ** 63n, /header of 9223372036854775808 bytes, expected at most 100000000/],
  ] as const) {
    bytes.writeBigUInt64LE(length);
    writeFileSync(join(folder, 'header.safetensors'), bytes);
    await fails(() => openLatents(join(folder, 'header.safetensors')), 'FORMAT', said);
  }
  writeFileSync(join(folder, 'short.safetensors'), 'abc');
  await fails(() => openLatents(join(folder, 'short.safetensors')), 'FORMAT', /3 bytes, expected at least 8/);
});

test('NaN in a tensor is named by row and column', async () => {
  const data = new Float32Array(6);
  data[5] = Number.NaN;
  const file = join(folder, 'nan.safetensors');
  writeFileSync(file, encodeSafetensors({ z: { dtype: 'F32', shape: [3, 2], data } }));
  await fails(() => readAll(file), 'NON_FINITE', /nan\.safetensors:z: row 2, column 1 .*is NaN/);
});

test('a file that is shortened while it is read', async () => {
  const file = join(folder, 'shrinks.safetensors');
  writeFileSync(
    file,
    encodeSafetensors({ z: { dtype: 'F32', shape: [100, 2], data: new Float32Array(200) } }),
  );
  const source = await openLatents(file);
  const batches = source.batches(10);
  assert.is((await batches.next()).value.length, 20);
  writeFileSync(file, '');
  await fails(() => batches.next(), 'FORMAT', /cut off or damaged/);
  await source.close();
});

test('prefetch: the next item is on its way while one is used, in order, and errors come in their place', async () => {
  const log: string[] = [];
  async function* count(fail = false): AsyncGenerator<number> {
    try {
      for (let i = 0; i < 3; i++) {
        log.push(`make ${i}`);
        yield i;
      }
      if (fail) throw new Error('own');
    } finally {
      log.push('closed');
    }
  }
  for await (const i of prefetch(count())) {
    await new Promise((resolve) => setImmediate(resolve));
    log.push(`use ${i}`);
  }
  assert.equal(log, ['make 0', 'make 1', 'use 0', 'make 2', 'use 1', 'closed', 'use 2']);
  const seen: number[] = [];
  try {
    for await (const i of prefetch(count(true))) seen.push(i);
    assert.unreachable();
  } catch (error) {
    assert.is((error as Error).message, 'own');
  }
  assert.equal(seen, [0, 1, 2]);
  log.length = 0;
  for await (const _ of prefetch(count())) break;
  assert.is(log.at(-1), 'closed');
});

test('a NaN is named by its row in the file, also in a later batch', async () => {
  const numbers = Float32Array.from({ length: 10 }, (_, i) => (i === 9 ? Number.NaN : i));
  const path = saveNpy(folder, 'late-nan.npy', numbers, 2);
  await fails(() => readAll(path, 2), 'NON_FINITE', /row 4, column 1 /);
});

test.run();
