import * as assert from 'uvu/assert';
import { EliError } from '../../src/errors.ts';
import { randomInts } from './data.ts';

/** Bytes and digits that files break on: limits of integers, structure of JSON and Python dicts. */
const SPICE = [0, 1, 0x7f, 0x80, 0xff, ...Buffer.from('{}[]():,"\'-.0e9\\ <>|')];

/** The bytes of a file after some damage: bits, bytes, inserted, cut out, cut off, copied, whole numbers set to limits. */
export function mutate(original: Uint8Array, random: (n: number) => number): Uint8Array {
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

/**
 * Reads `rounds` damaged copies of the `seeds` in turn: each must be read, or refused with an EliError of one of
 * `codes`; both must happen; and little memory may be taken.
 */
export async function fuzz(
  name: string,
  seeds: readonly Uint8Array[],
  rounds: number,
  read: (bytes: Uint8Array) => unknown,
  codes: readonly string[] = ['FORMAT'],
): Promise<void> {
  const random = randomInts(2203);
  const before = process.memoryUsage.rss();
  let refused = 0;
  let peak = 0;
  for (let round = 0; round < rounds; round++) {
    const bytes = mutate(seeds[round % seeds.length]!, random);
    try {
      await read(bytes);
    } catch (error) {
      const input = Buffer.from(bytes).toString('base64');
      assert.instance(error, EliError, `${name}, round ${round}: ${(error as Error).stack}\n${input}`);
      assert.ok(codes.includes((error as EliError).code), `${name}: ${(error as EliError).code}\n${input}`);
      refused++;
    }
    peak = Math.max(peak, process.memoryUsage.rss() - before);
  }
  assert.ok(refused > rounds / 4, `${name}: only ${refused} of ${rounds} were refused`);
  assert.ok(refused < rounds, `${name}: all were refused, so nothing behind the first check was reached`);
  assert.ok(peak < 256 << 20, `${name}: took ${peak >> 20} MiB`);
}
