// Thousands of damaged files: each is read, or refused with an EliError; no crash, no hang, no memory taken.
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import { parseIdx, unpackIdx } from '../src/data/idx.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/files/safetensors.ts';
import { idxBytes } from './support/data.ts';
import { fuzz } from './support/fuzz.ts';

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
