// Thousands of damaged files: each is read, or refused with an EliError; no crash, no hang, no memory taken.
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseIdx, unpackIdx } from '../src/data/idx.ts';
import { EliError } from '../src/errors.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/files/safetensors.ts';
import { idxBytes, randomInts } from './support/data.ts';

/** Bytes and digits that files break on: limits of integers, structure of JSON. */
const SPICE = [0, 1, 0x7f, 0x80, 0xff, ...Buffer.from('{}[]":,-.0e9\\ ')];

function mutate(original: Uint8Array, random: (n: number) => number): Uint8Array {
  let bytes = Array.from(original);
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(bytes.length + 1);
    const kind = random(6);
    if (kind === 0) bytes[Math.min(at, bytes.length - 1)]! ^= 1 << random(8);
    else if (kind === 1) bytes[Math.min(at, bytes.length - 1)] = SPICE[random(SPICE.length)]!;
    else if (kind === 2) bytes.splice(at, 0, SPICE[random(SPICE.length)]!);
    else if (kind === 3) bytes.splice(at, 1 + random(8));
    else if (kind === 4) bytes = bytes.slice(0, at);
    else bytes.splice(at, 0, ...bytes.slice(random(bytes.length + 1)).slice(0, 1 + random(40)));
    if (bytes.length === 0) bytes = [0];
  }
  return Uint8Array.from(bytes);
}

async function fuzz(name: string, seeds: Uint8Array[], rounds: number, read: (bytes: Uint8Array) => unknown) {
  const random = randomInts(2203);
  const before = process.memoryUsage();
  let refused = 0;
  let peak = 0;
  for (let round = 0; round < rounds; round++) {
    const bytes = mutate(seeds[round % seeds.length]!, random);
    try {
      await read(bytes);
    } catch (error) {
      const input = Buffer.from(bytes).toString('base64');
      assert.instance(error, EliError, `${name}, round ${round}: ${(error as Error).stack}\n${input}`);
      assert.is((error as EliError).code, 'FORMAT', input);
      refused++;
    }
    const { rss } = process.memoryUsage();
    peak = Math.max(peak, rss - before.rss);
  }
  assert.ok(refused > rounds / 4, `${name}: only ${refused} of ${rounds} were refused`);
  assert.ok(refused < rounds, `${name}: all were refused, so nothing behind the first check was reached`);
  assert.ok(peak < 256 << 20, `${name}: took ${peak >> 20} MiB`);
}

const checkpoint = encodeSafetensors(
  {
    'base.weight': { dtype: 'F32', shape: [3, 2], data: new Float32Array(6) },
    step: { dtype: 'I64', shape: [], data: new BigInt64Array(1) },
    mask: { dtype: 'U8', shape: [3], data: new Uint8Array(3) },
  },
  { config: '{"d":32}' },
);
const images = idxBytes(
  [3, 4, 5],
  Array.from({ length: 60 }, (_, i) => i),
);
const labels = idxBytes([5], [1, 2, 3, 4, 5]);

test('safetensors, 4,000 damaged files', () =>
  fuzz('safetensors', [checkpoint, encodeSafetensors({})], 4000, (bytes) => decodeSafetensors(bytes)));

test('IDX, 3,000 damaged files', () => fuzz('idx', [images, labels], 3000, (bytes) => parseIdx(bytes, 'x')));

test('gzipped IDX, 1,500 damaged files', () =>
  fuzz('idx.gz', [gzipSync(images), gzipSync(labels), gzipSync(images, { level: 0 })], 1500, async (bytes) =>
    parseIdx(await unpackIdx(bytes, 'x'), 'x'),
  ));

test.run();
