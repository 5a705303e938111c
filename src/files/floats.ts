/** Element types of real numbers in files, by their safetensors names; BF16 is the upper half of an F32. */
export type FloatDtype = 'F16' | 'BF16' | 'F32' | 'F64';

export const FLOAT_BYTES: Readonly<Record<FloatDtype, number>> = { F16: 2, BF16: 2, F32: 4, F64: 8 };

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

/** Bits of the float32 of each half, made at the first use: a look-up is several times faster than the arithmetic. */
let halfTable: Uint32Array | undefined;

/** IEEE 754 binary16 to float32. Exact; a NaN keeps its sign and payload. */
export function halvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  halfTable ??= Uint32Array.from({ length: 1 << 16 }, (_, half) => halfBits(half));
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halfTable[halves[i]!]!;
  return new Float32Array(bits.buffer);
}

/**
 * Numbers to IEEE 754 binary16, rounded to the nearest, of two as near to the even one; from 65,520 on they become
 * infinities. A NaN stays one, with the upper bits of its payload.
 */
export function floatsToHalves(floats: ArrayLike<number>): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(floats.length);
  const wide = new Float64Array(1);
  const [low, high] = [0, 1].map((word) => new Uint32Array(wide.buffer, 4 * word, 1)) as [
    Uint32Array,
    Uint32Array,
  ];
  for (let i = 0; i < halves.length; i++) {
    // From float64, so that a number that is not a float32 is rounded once.
    wide[0] = floats[i]!;
    halves[i] = halfOf(high[0]!, low[0]! !== 0);
  }
  return halves;
}

/** The half nearest to a float64 with these upper 32 bits; `more` says whether any of the others is set. */
function halfOf(upper: number, more: boolean): number {
  const sign = (upper >>> 16) & 0x8000;
  const exponent = (upper >>> 20) & 0x7ff;
  const fraction = upper & 0xf_ffff;
  if (exponent === 0x7ff) {
    const notNumber = fraction !== 0 || more;
    return sign | 0x7c00 | (notNumber ? 0x200 | (fraction >>> 10) : 0);
  }
  if (exponent >= 1023 + 16) return sign | 0x7c00;
  // Bits of the significand, of 20 after its leading one, that a half has no room for; subnormal ones have less room.
  const dropped = Math.max(10, 10 + 1009 - exponent);
  if (dropped > 21) return sign;
  const significand = exponent === 0 ? fraction : 0x10_0000 | fraction;
  const kept = significand >>> dropped;
  const rest = significand & ((1 << dropped) - 1);
  const middle = 1 << (dropped - 1);
  const up = rest > middle || (rest === middle && (more || (kept & 1) === 1));
  // The leading one of a normal number counts as one in the exponent, and so does a carry.
  const scaled = exponent >= 1009 ? (exponent - 1009) << 10 : 0;
  return sign | (scaled + kept + (up ? 1 : 0));
}

/** bfloat16 to float32. Exact. */
export function upperHalvesToFloats(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < bits.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/**
 * Bits of the float32 equal to a half. A half has a sign, 5 bits of exponent (bias 15) and 10 of fraction; a float32 8
 * (bias 127) and 23.
 */
function halfBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f80_0000 | (fraction << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13);
  if (fraction === 0) return sign;
  // Subnormal: fraction · 2⁻²⁴, which is normal in float32. Its leading one moves to bit 10 and is left out.
  const shift = Math.clz32(fraction) - 21;
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13);
}
