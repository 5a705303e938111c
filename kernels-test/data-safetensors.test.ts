// Checkpoint files: round trips, equal bytes, and everything the format forbids.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readFormat } from '../src/files/formats.ts';
import {
  decodeSafetensors,
  encodeSafetensors,
  readSafetensors,
  type Safetensors,
  type SafetensorsEntry,
  type SafetensorsInput,
  toFloat32,
  writeSafetensors,
} from '../src/files/safetensors.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { readAll } from './support/latents.ts';

const folder = temporaryFolder();

const sample: Record<string, SafetensorsInput> = {
  'head.bias': { dtype: 'F32', shape: [3], data: new Float32Array([1, -0, Number.NaN]) },
  flags: { dtype: 'U8', shape: [5], data: new Uint8Array([1, 2, 3, 4, 255]) },
  '10': { dtype: 'I32', shape: [], data: new Int32Array([-7]) },
  '9': { dtype: 'U32', shape: [2], data: new Uint32Array([0, 0xffffffff]) },
  empty: { dtype: 'F32', shape: [0, 4], data: new Float32Array(0) },
  exact: { dtype: 'F64', shape: [1, 2], data: new Float64Array([Math.PI, -1e-310]) },
  step: { dtype: 'I64', shape: [1], data: new BigInt64Array([-(2n ** 62n)]) },
  half: { dtype: 'F16', shape: [2], data: new Uint16Array([0x3c00, 0x7bff]) },
  'größe "x"': { dtype: 'I8', shape: [1], data: new Int8Array([-1]) },
};
const notes = { format: 'eli', config: '{"d":32}\n', '': '' };

/** A file with this header (text or value) and that many bytes of data. */
function file(header: unknown, dataBytes = 0): Uint8Array {
  const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + text.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(text.length), true);
  bytes.set(text, 8);
  return bytes;
}

function f32(shape: unknown, offsets: unknown): object {
  return { dtype: 'F32', shape, data_offsets: offsets };
}

test('a round trip keeps names, types, shapes, bits and metadata', () => {
  const { tensors, metadata } = decodeSafetensors(encodeSafetensors(sample, notes));
  assert.equal({ ...metadata }, notes);
  assert.equal(Object.keys(tensors).sort(), Object.keys(sample).sort());
  for (const [name, entry] of Object.entries(sample)) {
    const got = tensors[name]!;
    assert.equal([got.dtype, got.shape], [entry.dtype, entry.shape], name);
    assert.is(got.data.constructor, entry.data.constructor, name);
    assert.equal(Buffer.from(got.data.buffer), Buffer.from(entry.data.buffer), name);
  }
});

test('equal content gives equal bytes, in any order; every tensor is aligned', () => {
  const bytes = encodeSafetensors(sample, notes);
  const reversed = Object.fromEntries(Object.entries(sample).reverse());
  const reversedNotes = Object.fromEntries(Object.entries(notes).reverse());
  assert.equal(encodeSafetensors(reversed, reversedNotes), bytes);
  const { tensors, metadata } = decodeSafetensors(bytes);
  assert.equal(encodeSafetensors(tensors, metadata), bytes);

  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  assert.is(length % 8, 0);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
  for (const [name, { dtype }] of Object.entries(sample)) {
    const size = Number(/\d+$/.exec(dtype)![0]) / 8;
    assert.is(header[name].data_offsets[0] % size, 0, name);
  }
});

test('the bytes, as the format page has them', () => {
  const bytes = encodeSafetensors(
    { b: { dtype: 'U8', shape: [2], data: new Uint8Array([7, 8]) } },
    { k: 'v' },
  );
  const header = '{"__metadata__":{"k":"v"},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}';
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
  assert.equal([...bytes], [padded.length, 0, 0, 0, 0, 0, 0, 0, ...new TextEncoder().encode(padded), 7, 8]);
  assert.is(new TextDecoder().decode(encodeSafetensors({}).subarray(8)), '{}      ');
});

test('views of larger arrays, and raw bytes', () => {
  const whole = new Float32Array([0, 1, 2, 3]);
  const part = { dtype: 'F32', shape: [2], data: whole.subarray(1, 3) } as const;
  const raw = { dtype: 'F32', shape: [2], data: new Uint8Array(whole.buffer, 4, 8) } as const;
  assert.equal(encodeSafetensors({ x: raw }), encodeSafetensors({ x: part }));
  assert.equal([...decodeSafetensors(encodeSafetensors({ x: part })).tensors.x!.data], [1, 2]);
  // Bytes that begin anywhere in their buffer.
  const bytes = encodeSafetensors({ x: part });
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  assert.equal([...decodeSafetensors(shifted.subarray(1)).tensors.x!.data], [1, 2]);
});

test('checksums: a round trip, and every flipped bit is refused, that of a tensor by its name', async () => {
  const plain = encodeSafetensors(sample, notes);
  const bytes = encodeSafetensors(sample, notes, { checksums: true });
  const { tensors, metadata } = decodeSafetensors(bytes);
  assert.equal(encodeSafetensors(tensors, metadata), plain, 'its keys are taken out of the metadata');
  const dataStart = bytes.length - Object.values(sample).reduce((sum, { data }) => sum + data.byteLength, 0);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const at = Math.floor(bit / 8);
    const flipped = bytes.slice();
    flipped[at]! ^= 1 << (bit % 8);
    const said = at < dataStart ? /./ : /the checksum of tensor "[^ ]+( .*)?" does not match its data/;
    await fails(() => decodeSafetensors(flipped), 'FORMAT', said);
  }
  // Made by somebody else.
  const odd = { eli_tensor_sha256: '[' };
  await fails(() => decodeSafetensors(encodeSafetensors({}, odd)), 'FORMAT', /checksum/);
});

test('names that JavaScript treats as special', () => {
  const one = { dtype: 'U8', shape: [1], data: new Uint8Array([1]) } as const;
  const bytes = encodeSafetensors(
    Object.fromEntries([
      ['__proto__', one],
      ['constructor', one],
    ]),
    {
      ['__proto__']: 'text',
    },
  );
  const { tensors, metadata } = decodeSafetensors(bytes);
  assert.equal(Object.keys(tensors), ['__proto__', 'constructor']);
  assert.equal(Object.entries(metadata), [['__proto__', 'text']]);
  assert.is(({} as { dtype?: string }).dtype, undefined);
  assert.is(decodeSafetensors(encodeSafetensors({})).tensors.toString, undefined);
});

test('float32 of every type', () => {
  const get = (dtype: string, data: unknown): number[] => [
    ...toFloat32({ dtype, shape: [(data as ArrayLike<unknown>).length], data } as SafetensorsEntry),
  ];
  const halves = [0, 0x8000, 1, 0x3ff, 0x400, 0x3555, 0x3c00, 0xc000, 0x7bff, 0x7c00, 0xfc00, 0x7e00];
  const { POSITIVE_INFINITY: inf, NaN: nan } = Number;
  const values = [0, -0, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, 1365 / 4096, 1, -2, 65504, inf, -inf, nan];
  assert.equal(get('F16', new Uint16Array(halves)), values);
  assert.is(Object.is(get('F16', new Uint16Array([0x8000]))[0], -0), true);
  assert.equal(get('BF16', new Uint16Array([0x3f80, 0xc040, 0xff80, 0x0001])), [1, -3, -inf, 2 ** -133]);
  assert.equal(get('F64', new Float64Array([0.1])), [Math.fround(0.1)]);
  assert.equal(get('I64', new BigInt64Array([-5n, 2n ** 40n])), [-5, 2 ** 40]);
  assert.equal(get('U8', new Uint8Array([255])), [255]);
  const same = new Float32Array([1]);
  assert.is(toFloat32({ dtype: 'F32', shape: [1], data: same }).buffer, same.buffer, 'no copy');
});

test('files: written whole or not at all', async () => {
  const path = join(folder, 'model.safetensors');
  await writeSafetensors(path, sample, notes);
  const before = readFileSync(path);
  assert.equal(before, Buffer.from(encodeSafetensors(sample, notes)));
  assert.equal(Object.keys((await readSafetensors(path)).tensors).length, Object.keys(sample).length);
  const bad = { x: { dtype: 'F32', shape: [2], data: new Float32Array(3) } } as const;
  await fails(
    () => writeSafetensors(path, bad),
    'ARGUMENT',
    /x: F32 of shape \[2\] takes 8 bytes, data has 12/,
  );
  assert.equal(readFileSync(path), before);
  await fails(() => writeSafetensors(join(folder, 'no', 'x'), {}), 'FILE', /no such file or folder/);
  await fails(() => readSafetensors(join(folder, 'none')), 'FILE', /none/);
  writeFileSync(path, before.subarray(0, -1));
  await fails(() => readSafetensors(path), 'FORMAT', /model\.safetensors is not a valid safetensors file/);
  assert.not(existsSync(join(folder, 'no')));
});

test('tensors that cannot be written', async () => {
  const encode = (entry: unknown, name = 'x') => encodeSafetensors({ [name]: entry as SafetensorsInput });
  const data = new Float32Array(2);
  await fails(
    () => encode({ dtype: 'F32', shape: [2], data: new Float64Array(1) }),
    'ARGUMENT',
    /needs a Float32Array/,
  );
  await fails(
    () => encode({ dtype: 'F8', shape: [2], data }),
    'ARGUMENT',
    /dtype F8, expected one of F64, F32/,
  );
  await fails(() => encode({ dtype: 'toString', shape: [2], data }), 'ARGUMENT', /dtype toString/);
  await fails(() => encode({ dtype: 'F32', shape: [-2], data }), 'ARGUMENT', /no valid number/);
  await fails(() => encode({ dtype: 'F32', shape: [4, 0.5], data }), 'ARGUMENT', /no valid number/);
  await fails(() => encode({ dtype: 'F32', shape: [2], data }, '__metadata__'), 'ARGUMENT', /reserved/);
  await fails(
    () => encodeSafetensors({}, { epoch: 3 as unknown as string }),
    'ARGUMENT',
    /epoch is not a string/,
  );
});

test('cut off anywhere, or longer', async () => {
  const bytes = encodeSafetensors(sample, notes);
  for (let length = 0; length < bytes.length; length++) {
    await fails(() => decodeSafetensors(bytes.subarray(0, length)), 'FORMAT');
  }
  await fails(() => decodeSafetensors(new Uint8Array([...bytes, 0])), 'FORMAT', /cover/);
});

test('a wrong header', async () => {
  const bad = (header: unknown, dataBytes: number, ...said: RegExp[]) =>
    fails(() => decodeSafetensors(file(header, dataBytes), 'm.st'), 'FORMAT', /^m\.st is not/, ...said);
  const huge = new Uint8Array(16).fill(255);
  await fails(
    () => decodeSafetensors(huge),
    'FORMAT',
    /header of 18446744073709551615 bytes, expected at most/,
  );
  await fails(
    () => decodeSafetensors(new Uint8Array([9, 0, 0, 0, 0, 0, 0, 0, 123, 125])),
    'FORMAT',
    /only 2 bytes follow/,
  );
  await bad('', 0, /not JSON/);
  await bad('{"a":', 0, /not JSON/);
  await bad(' {}', 0, /does not begin with \{/);
  await bad('[]', 0, /does not begin with \{/);
  await bad('\ufeff{}', 0, /not JSON/);
  await fails(() => decodeSafetensors(new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0, 0xff])), 'FORMAT', /not JSON/);
  await bad({ __metadata__: { a: 1 } }, 0, /__metadata__ is not an object of strings/);
  await bad({ __metadata__: [] }, 0, /__metadata__/);
  await bad({ a: null }, 0, /"a": null, expected an object/);
  await bad({ a: {} }, 0, /dtype missing, expected a name such as F64/);
  for (const dtype of ['valueOf', '', 'f32', 'F 8', 8, null])
    await bad({ a: { dtype, shape: [1], data_offsets: [0, 1] } }, 1, /"a": dtype .*, expected a name/);
});

test('a tensor of another element type leaves its neighbours readable', async () => {
  const header = (shape: unknown, offsets: unknown, start: number) => ({
    q: { dtype: 'F8_E4M3', shape, data_offsets: offsets },
    z: f32([2, 1], [start, start + 8]),
  });
  const bytes = file(header([3], [0, 3], 3), 11);
  new DataView(bytes.buffer).setFloat32(bytes.length - 4, 2.5, true);
  const { tensors, unread } = decodeSafetensors(bytes);
  assert.equal([...tensors.z!.data], [0, 2.5]);
  assert.equal(Object.keys(tensors), ['z']);
  assert.equal({ ...unread }, { q: 'F8_E4M3' });
  const path = join(folder, 'other.safetensors');
  writeFileSync(path, bytes);
  assert.equal([...(await readAll(`${path}:z`))], [0, 2.5]);
  await fails(() => readAll(`${path}:q`), 'FORMAT', /:q is F8_E4M3, expected F16, BF16, F32 or F64/);
  await fails(() => readAll(path), 'FORMAT', /does not say which tensor is meant; it has 2: q, z/);
  // Its place is checked all the same.
  const bad = (given: unknown, dataBytes: number, said: RegExp) =>
    fails(() => decodeSafetensors(file(given, dataBytes)), 'FORMAT', said);
  await bad(header([3], [0, 4], 3), 11, /overlaps/);
  await bad(header([3], [0, 3], 4), 12, /leaves a hole/);
  await bad(header([-3], [0, 3], 3), 11, /shape/);
  await bad(header([3], [0, 30], 3), 11, /data_offsets/);
});

test('a file that lacks what was stored in another element type says so', async () => {
  const path = join(folder, 'half.safetensors');
  const q = { dtype: 'F8_E4M3', shape: [1], data_offsets: [0, 1] };
  writeFileSync(path, file({ __metadata__: { format: 'x' }, weight: q }, 1));
  const read = ({ tensors }: Safetensors): number => tensors.weight!.data.length;
  await fails(
    () => readFormat(path, { x: read }),
    'FORMAT',
    /its tensor "weight" is of type F8_E4M3, which is not read here/,
  );
});

test('wrong shapes and offsets', async () => {
  const bad = (header: unknown, dataBytes: number, ...said: RegExp[]) =>
    fails(() => decodeSafetensors(file(header, dataBytes)), 'FORMAT', ...said);
  for (const shape of [[-1], [0.5], ['1'], [null], 3, 'x', {}])
    await bad({ a: f32(shape, [0, 4]) }, 4, /shape/);
  await bad('{"a":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}', 0, /shape/);
  await bad({ a: f32([2 ** 52, 2 ** 52, 0], [0, 0]) }, 0, /over 2\^53/);
  await bad({ a: f32([2 ** 53], [0, 0]) }, 0, /shape/);
  await bad({ a: f32([1], [0, 3]) }, 3, /takes 4 bytes, its data_offsets span 3/);
  for (const offsets of [[0], [0, 4, 8], [-4, 0], [0, 4.5], [0, '4'], undefined]) {
    await bad({ a: f32([1], offsets) }, 4, /data_offsets/);
  }
  await bad({ a: f32([1], [4, 0]) }, 4, /begin ≤ end ≤ 4/);
  await bad({ a: f32([2], [0, 8]) }, 4, /begin ≤ end ≤ 4/);
  await bad({ a: f32([1], [0, 4]), b: f32([1], [2, 6]) }, 6, /"b" at byte 2 of the data overlaps/);
  await bad({ a: f32([1], [0, 4]), b: f32([1], [0, 4]) }, 4, /overlaps/);
  await bad({ a: f32([1], [0, 4]), b: f32([1], [8, 12]) }, 12, /leaves a hole/);
  await bad({ a: f32([1], [0, 4]) }, 8, /8 bytes of data, its tensors cover 4/);
  assert.equal(
    Object.keys(decodeSafetensors(file({ a: f32([1], [4, 8]), b: f32([1], [0, 4]) }, 8)).tensors),
    ['a', 'b'],
  );
});

test('a key that is there twice', async () => {
  const a = '"dtype":"U8","shape":[0],"data_offsets":[0,0]';
  const bad = (header: string) => fails(() => decodeSafetensors(file(header)), 'FORMAT', /twice/);
  await bad(`{"a":{${a}},"a":{${a}}}`);
  await bad(`{"a":{${a}},"\\u0061" :{${a}}}`);
  await bad(`{"a":{${a},"dtype":"U8"}}`);
  await bad('{"__metadata__":{"k":"1","k":"2"}}');
  // Not keys, or keys of different objects.
  const text = JSON.stringify('}"k":{\\"');
  assert.equal(
    Object.keys(decodeSafetensors(file(`{"__metadata__":{"k":${text},"l":"k"},"k":{${a}}}`)).tensors),
    ['k'],
  );
});

test.run();
