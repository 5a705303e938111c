/** Element types of real numbers in files, by their safetensors names; BF16 is the upper half of an F32. */
export type FloatDtype = 'F16' | 'BF16' | 'F32' | 'F64';

export const FLOAT_BYTES: Readonly<Record<FloatDtype, number>> = { F16: 2, BF16: 2, F32: 4, F64: 8 };

export function isFloat(dtype: string): dtype is FloatDtype {
  return Object.hasOwn(FLOAT_BYTES, dtype);
}

/**
 * Little-endian bytes as float32: F16 and BF16 are exact, F64 is rounded to the nearest (beyond float32's range to an
 * infinity). F32 may share memory with `bytes`.
 */
export function floatsOf(dtype: FloatDtype, bytes: Uint8Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const size = FLOAT_BYTES[dtype];
  // Typed arrays start at multiples of their element's size.
  const { buffer, byteOffset } = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const n = Math.floor(bytes.length / size);
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, n);
    case 'F64':
      return new Float32Array(new Float64Array(buffer, byteOffset, n));
    case 'F16':
      return halvesToFloats(new Uint16Array(buffer, byteOffset, n));
    case 'BF16':
      return upperHalvesToFloats(new Uint16Array(buffer, byteOffset, n));
  }
}

/** Bits of the float32 of each half, made at first use: a lookup is several times faster than the arithmetic. */
let halfTable: Uint32Array | undefined;

/** IEEE 754 binary16 to float32. Exact; a NaN keeps its sign and payload. */
export function halvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  halfTable ??= makeHalfTable();
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halfTable[halves[i]!]!;
  return new Float32Array(bits.buffer);
}

/** A half has a sign, 5 bits of exponent (bias 15) and 10 of fraction; a float32 has 8 (bias 127) and 23. */
function makeHalfTable(): Uint32Array {
  const bits = Uint32Array.from(
    { length: 1 << 16 },
    (_, half) => ((half & 0x8000) << 16) | ((half & 0x7fff) << 13),
  );
  const floats = new Float32Array(bits.buffer);
  for (let half = 0; half < bits.length; half++) {
    const finite = (half & 0x7c00) !== 0x7c00;
    if (finite) floats[half]! *= 2 ** (127 - 15);
    else bits[half]! |= 0x7f80_0000;
  }
  return bits;
}

/** By the exponent of a number, from −14: how many of the last bits of its half make one. */
const BITS_PER_ONE = Float64Array.from({ length: 30 }, (_, i) => 2 ** (24 - i));

/**
 * Numbers to IEEE 754 binary16, rounded to the nearest, ties to even; from 65,520 on they become infinities. A NaN
 * stays a NaN, with the upper bits of its payload.
 */
export function floatsToHalves(floats: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(floats.length);
  // From float64, so that a number that is not a float32 is rounded once.
  const wide = new Float64Array(1);
  const upper = new Uint32Array(wide.buffer, 4, 1);
  for (let i = 0; i < halves.length; i++) {
    wide[0] = floats[i]!;
    halves[i] = halfOf(wide[0], upper[0]!);
  }
  return halves;
}

/** The half nearest to a float64 with these upper 32 bits. */
function halfOf(value: number, upper: number): number {
  const sign = (upper >>> 16) & 0x8000;
  if (Number.isNaN(value)) return sign | 0x7e00 | ((upper & 0xf_ffff) >>> 10);
  const exponent = Math.max(((upper >>> 20) & 0x7ff) - 1023, -14);
  if (exponent > 15) return sign | 0x7c00;
  // A float64 of this size has no bits below 1: adding 2^52 rounds to a whole number, ties to even.
  const rounded = Math.abs(value) * BITS_PER_ONE[exponent + 14]! + 2 ** 52 - 2 ** 52;
  // The leading one of a normal number counts as one in the exponent, and so does a carry.
  return sign | (((exponent + 14) << 10) + rounded);
}

/** bfloat16 to float32. Exact. */
export function upperHalvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}
