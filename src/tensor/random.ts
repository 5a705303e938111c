import { checkWhole, EliError, isRecord, nameOf } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { empty, launch1d } from './create.ts';
import type { Shape } from './shape.ts';
import { Tensor } from './tensor.ts';

/**
 * Which random numbers: they depend only on these three and the element's index (counter-based Philox4x32-10), so there
 * is no generator state to save.
 */
export interface RandomSource {
  /** Whole number from 0 to 2^53. */
  readonly seed: number;
  /** Separates uses of one seed: 0 to 2^32 − 1. What this package draws by itself has streams from 2^31 on. Default 0. */
  readonly stream?: number;
  /** Separates draws within a stream; a u32 tensor of one element is read when the kernel runs. */
  readonly step?: number | Tensor;
}

/** @throws EliError `ARGUMENT` unless the seed is a whole number from 0 to 2^53. */
export function checkSeed(seed: number): void {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new EliError('ARGUMENT', `a random seed is ${seed}, must be a whole number from 0 to 2^53`);
  }
}

function checkSource(source: RandomSource): void {
  if (!isRecord(source)) {
    throw new EliError('ARGUMENT', `random numbers need a seed, which is ${nameOf(source)}`, {
      hint: 'give { seed: 1 }: the same seed gives the same numbers',
    });
  }
  checkSeed(source.seed);
  const { stream = 0, step = 0 } = source;
  checkWhole('the stream of random numbers', stream, 0, 2 ** 32 - 1);
  if (!(step instanceof Tensor)) checkWhole('the step of random numbers', step, 0, 2 ** 32 - 1);
}

/** The distributions of shaders/random/random.wgsl, by its override KIND. */
export const RANDOM_CODES = { bits: 0, uniform: 1, normal: 2 } as const;

function draw(
  engine: Engine,
  kind: keyof typeof RANDOM_CODES,
  shape: Shape,
  source: RandomSource,
  low: number,
  high: number,
): Tensor {
  checkSource(source);
  const { seed, stream = 0, step = 0 } = source;
  const y = empty(engine, shape, kind === 'bits' ? 'u32' : 'f32');
  const stepped = step instanceof Tensor;
  // Without a step on the device the binding still needs a buffer other than y.
  const counter = stepped ? step : empty(engine, [1], 'u32');
  const [seed_low, seed_high] = [seed >>> 0, Math.floor(seed / 2 ** 32)];
  launch1d(engine, 'random/random.wgsl', Math.ceil(y.size / 4), {
    storages: [counter.storage, y.storage],
    overrides: { KIND: RANDOM_CODES[kind], STEPPED: stepped ? 1 : 0 },
    params: { n: y.size, stream, step: stepped ? 0 : step, seed_low, seed_high, low, high },
  });
  if (!stepped) counter.dispose();
  return y;
}

/** 32 random bits per element, u32: the same on every adapter and on the CPU. */
export function randomBits(engine: Engine, shape: Shape, source: RandomSource): Tensor {
  return draw(engine, 'bits', shape, source, 0, 0);
}

/** Uniform in [low, high), f32. In [0, 1) the bits are the same on every adapter and on the CPU. */
export function randomUniform(engine: Engine, shape: Shape, source: RandomSource, low = 0, high = 1): Tensor {
  return draw(engine, 'uniform', shape, source, low, high);
}

/** Normal with the given mean and standard deviation, f32 (Box–Muller); adapters agree within a few ulp. */
export function randomNormal(engine: Engine, shape: Shape, source: RandomSource, mean = 0, std = 1): Tensor {
  return draw(engine, 'normal', shape, source, mean, std);
}

/** The four words of Philox4x32-10 for a counter and a key, on the CPU. */
export function philox(
  counter: readonly [number, number, number, number],
  seed: number,
): Uint32Array<ArrayBuffer> {
  let [c0, c1, c2, c3] = counter;
  let k0 = seed >>> 0;
  let k1 = Math.floor(seed / 2 ** 32) >>> 0;
  for (let round = 0; round < 10; round++) {
    const h0 = mulHigh(0xd2511f53, c0);
    const h1 = mulHigh(0xcd9e8d57, c2);
    const l0 = Math.imul(0xd2511f53, c0);
    const l1 = Math.imul(0xcd9e8d57, c2);
    [c0, c1, c2, c3] = [(h1 ^ c1 ^ k0) >>> 0, l1 >>> 0, (h0 ^ c3 ^ k1) >>> 0, l0 >>> 0];
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return Uint32Array.of(c0, c1, c2, c3);
}

function mulHigh(a: number, b: number): number {
  const al = a & 0xffff;
  const ah = a >>> 16;
  const bl = b & 0xffff;
  const bh = b >>> 16;
  const mid = ah * bl + ((al * bl) >>> 16);
  const low = al * bh + (mid & 0xffff);
  return (ah * bh + Math.floor(mid / 65536) + Math.floor(low / 65536)) >>> 0;
}

/** Element i of `randomBits` with the same source, on the CPU. */
export function bitsAt(source: RandomSource & { readonly step?: number }, i: number): number {
  return philox([Math.floor(i / 4), source.step ?? 0, source.stream ?? 0, 0], source.seed)[i % 4]!;
}

/** 0 … n−1 in random order (Fisher–Yates on the CPU). */
export function permutation(
  n: number,
  source: RandomSource & { readonly step?: number },
): Uint32Array<ArrayBuffer> {
  checkWhole('permutation: n', n, 0, 2 ** 32 - 1);
  checkSource(source);
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  let block = new Uint32Array(4);
  for (let i = n - 1, drawn = 0; i > 0; i--, drawn++) {
    if (drawn % 4 === 0) block = philox([drawn / 4, source.step ?? 0, source.stream ?? 0, 0], source.seed);
    // Maps 32 bits to 0 … i by multiplication: the bias is below i / 2^32.
    const j = Math.floor((block[drawn % 4]! / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
