import * as assert from 'uvu/assert';
import { EliError } from '../../src/errors.ts';
import { encodeSafetensors, type Safetensors, type SafetensorsInput } from '../../src/files/safetensors.ts';
import { randomInts } from './data.ts';
import { takenBytes } from './meter.ts';

/** A whole number from 0 to n − 1. */
export type RandomInt = (n: number) => number;

/** Bytes and digits that files break on: limits of integers, structure of JSON and Python dicts. */
const SPICE = [0, 1, 0x7f, 0x80, 0xff, ...Buffer.from('{}[]():,"\'-.0e9\\ <>|')];

/** The bytes of a file after some damage: bits, bytes, inserted, cut out, cut off, copied, whole numbers set to limits. */
export function mutateBytes(original: Uint8Array, random: RandomInt): Uint8Array {
  let bytes = Array.from(original);
  for (let times = 1 + random(4); times > 0; times--) {
    const at = random(bytes.length + 1);
    const inside = Math.min(at, bytes.length - 1);
    const kind = random(7);
    if (kind === 0) bytes[inside]! ^= 1 << random(8);
    else if (kind === 1) bytes[inside] = SPICE[random(SPICE.length)]!;
    else if (kind === 2) bytes.splice(at, 0, SPICE[random(SPICE.length)]!);
    else if (kind === 3) bytes.splice(at, 1 + random(8));
    else if (kind === 4) bytes = bytes.slice(0, at);
    else if (kind === 5)
      bytes.splice(at, 0, ...bytes.slice(random(bytes.length + 1)).slice(0, 1 + random(40)));
    else bytes.fill([0, 0x7f, 0x80, 0xff][random(4)]!, at, at + 2 ** (1 + random(3)));
    if (bytes.length === 0) bytes = [0];
  }
  return Uint8Array.from(bytes);
}

/** JSON texts of values that programs break on: of another type, out of every range, with names of prototypes. */
const HOSTILE = [
  'null',
  'true',
  '-1',
  '0',
  '-0',
  '0.5',
  '1e308',
  '1e999',
  '9007199254740993',
  '2147483648',
  '""',
  '"32"',
  '"__proto__"',
  '"../../../etc/passwd"',
  '"\\u0000"',
  '[]',
  '{}',
  '[[]]',
  '[null]',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"toString":1,"valueOf":1}',
  '{"length":1e9}',
  `${'['.repeat(5000)}${']'.repeat(5000)}`,
  `"${'x'.repeat(5000)}"`,
];
const NAMES = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', '', 'x'];

/** A JSON text in which some members have hostile values or names, are missing, or stand twice. */
export function mutateJson(text: string, random: RandomInt): string {
  if (random(10) === 0) return Buffer.from(mutateBytes(Buffer.from(text), random)).toString();
  // As text from the inside out, because values such as 1e999 are no values of JavaScript.
  const rate = 1 + random(3);
  const count = (value: unknown): number =>
    1 +
    (typeof value === 'object' && value !== null
      ? Object.values(value)
          .map(count)
          .reduce((a, b) => a + b, 0)
      : 0);
  const root: unknown = JSON.parse(text);
  const all = count(root);
  const write = (value: unknown): string => {
    if (random(all) < rate) return HOSTILE[random(HOSTILE.length)]!;
    if (Array.isArray(value)) return `[${value.flatMap((item) => repeat(write(item))).join()}]`;
    if (typeof value !== 'object' || value === null) return JSON.stringify(value);
    const members = Object.entries(value).flatMap(([key, item]) => {
      const name = random(all) < rate ? NAMES[random(NAMES.length)]! : key;
      return repeat(`${JSON.stringify(name)}:${write(item)}`);
    });
    return `{${members.join()}}`;
  };
  const repeat = (item: string): string[] => {
    const dice = random(8 * all);
    return dice === 0 ? [] : dice === 1 ? [item, item] : [item];
  };
  return write(root);
}

/** A valid safetensors file whose content is not what it was: metadata, shapes, element types, numbers, names. */
export function mutateTensors({ tensors, metadata }: Safetensors, random: RandomInt): Uint8Array {
  const notes = new Map(Object.entries(metadata));
  const entries = new Map<string, SafetensorsInput>(Object.entries(tensors));
  const pick = <T>(values: Iterable<T>): T | undefined => [...values].at(random([...values].length));
  for (let times = 1 + random(2); times > 0; times--) {
    const name = pick(entries.keys());
    const entry = name === undefined ? undefined : entries.get(name)!;
    const kind = random(9);
    const note = pick(notes.keys());
    if (kind < 3 && note !== undefined) {
      // The text as it was: what is hostile already may be no JSON.
      const text = metadata[note]!;
      const isJson = text.startsWith('{');
      notes.set(
        note,
        isJson ? mutateJson(text, random) : HOSTILE[random(HOSTILE.length)]!.replaceAll('"', ''),
      );
    } else if (kind === 3 && note !== undefined) notes.delete(note);
    else if (entry === undefined || name === undefined) continue;
    else if (kind === 4) entries.delete(name);
    else if (kind === 5) {
      entries.delete(name);
      entries.set(`${name.split('.')[0]}.${NAMES[random(NAMES.length)]}`, entry);
      if (random(2) === 0) entries.set(NAMES[random(NAMES.length)]!, entry);
    } else if (kind === 6) {
      const { shape } = entry;
      const shapes = [shape.toReversed(), [...shape, 1], [1, ...shape], [shape.reduce((a, b) => a * b, 1)]];
      entries.set(name, { ...entry, shape: shapes[random(shapes.length)]! });
    } else if (kind === 7) {
      // Other numbers of other types in as many bytes, or none at all.
      const bytes = mutateBytes(new Uint8Array(entry.data.buffer), random);
      const whole = bytes.slice(0, bytes.length - (bytes.length % 4));
      const cut = random(4) === 0 ? whole.slice(0, 0) : whole;
      const dtype = (['F32', 'I32', 'U32'] as const)[random(3)]!;
      entries.set(name, { dtype, shape: [cut.length / 4], data: cut });
    } else {
      const data = new Float32Array(entry.shape.reduce((a, b) => a * b, 1));
      data.fill([Number.NaN, Number.POSITIVE_INFINITY, -1, 0, 3e38][random(5)]!);
      entries.set(name, { dtype: 'F32', shape: entry.shape, data });
    }
  }
  return encodeSafetensors(Object.fromEntries(entries), Object.fromEntries(notes));
}

/** Something that reads files. */
export interface Reader {
  readonly name: string;
  /** Its share of all damaged files. */
  readonly share: number;
  /** A damaged file. */
  readonly damaged: (random: RandomInt) => Uint8Array;
  /** Reads it to the last number. */
  readonly read: (bytes: Uint8Array) => unknown;
  /** What it may be refused with; default `FORMAT`. */
  readonly codes?: readonly string[];
}

/** Damaged copies of these files in turn. */
export const damagedFiles =
  (...files: readonly Uint8Array[]) =>
  (random: RandomInt): Uint8Array =>
    mutateBytes(files[random(files.length)]!, random);

/** What arrays may take beside what is of the size of the file. */
const FIXED_BYTES = 1 << 20;
/** Copies of the file's content in one form or another, float64 ones of float16 among them. */
const COPIES = 16;

const PROTOTYPES = [Object, Array, Function, String, Number, Map].map(({ prototype }) => prototype as object);
const ownKeys = (): string => PROTOTYPES.map((p) => Reflect.ownKeys(p).map(String).join()).join('\n');

/**
 * Gives the reader damaged files: each must be read, or refused with an EliError of one of its codes, within seconds
 * and little memory; both must happen; and no prototype may have changed.
 */
export async function fuzz(
  { name, damaged, read, codes = ['FORMAT'] }: Reader,
  rounds: number,
  seed: number,
) {
  const random = randomInts(seed);
  const keys = ownKeys();
  const before = process.memoryUsage.rss();
  const seen = { refused: 0, peak: 0, share: 0, slowest: 0 };
  for (let round = 0; round < rounds; round++) {
    const bytes = damaged(random);
    const input = (): string => `${name}, round ${round}, base64 ${Buffer.from(bytes).toString('base64')}`;
    takenBytes();
    const start = performance.now();
    try {
      await read(bytes);
    } catch (error) {
      assert.instance(error, EliError, `${(error as Error).stack}\n${input()}`);
      assert.ok(codes.includes((error as EliError).code), `${error}\n${input()}`);
      seen.refused++;
    }
    const taken = takenBytes();
    const limit = COPIES * bytes.length + FIXED_BYTES;
    if (taken > limit) assert.unreachable(`${taken} bytes for a file of ${bytes.length}: ${input()}`);
    if (ownKeys() !== keys) assert.unreachable(`a prototype has changed: ${input()}`);
    seen.share = Math.max(seen.share, taken / limit);
    seen.slowest = Math.max(seen.slowest, performance.now() - start);
    seen.peak = Math.max(seen.peak, process.memoryUsage.rss() - before);
  }
  assert.ok(seen.refused > rounds / 20, `${name}: only ${seen.refused} of ${rounds} were refused`);
  assert.ok(
    seen.refused < rounds,
    `${name}: all were refused, so nothing behind the first check was reached`,
  );
  assert.ok(seen.peak < 256 << 20, `${name}: took ${seen.peak >> 20} MiB`);
  assert.ok(seen.slowest < 10_000, `${name}: took ${seen.slowest} ms`);
  return seen;
}
