import { EliError } from '../errors.ts';
import { floatsToHalves, halvesToFloats } from '../files/floats.ts';
import { philox } from '../tensor/random.ts';
import type { BufferBinding, Leaf, Scalar } from '../wgsl/interface.ts';

/** What a buffer holds at the start: one number everywhere, or random ones, low ≤ v < high. */
export interface Fill {
  readonly low: number;
  readonly high: number;
}

/** Contents of a buffer by the one type of its numbers (f16 as floats), or its words where it mixes types. */
export type Contents = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Where a number of a buffer of so many elements is: `visit` is called in the order of memory. */
function eachLeaf(
  buffer: BufferBinding,
  elements: number,
  visit: (offset: number, scalar: Scalar) => void,
): void {
  for (const { offset, scalar } of buffer.head) visit(offset, scalar);
  if (buffer.element === undefined) return;
  const { leaves, stride } = buffer.element;
  for (let i = 0; i < elements; i++) {
    const at = buffer.headBytes + i * stride;
    for (const { offset, scalar } of leaves) visit(at + offset, scalar);
  }
}

/** Bytes of a buffer with so many elements. */
export function bytesOf(buffer: BufferBinding, elements: number): number {
  const bytes = buffer.headBytes + elements * (buffer.element?.stride ?? 0);
  return Math.ceil(bytes / 4) * 4;
}

/** Writes one number as its type has it. */
function setNumber(view: DataView, offset: number, scalar: Scalar, value: number): void {
  if (scalar === 'f32') view.setFloat32(offset, value, true);
  else if (scalar === 'f16') view.setUint16(offset, floatsToHalves([value])[0]!, true);
  else view.setUint32(offset, value, true);
}

/**
 * The bytes of a filled buffer. Random numbers follow from `seed` and the buffer's name, so that kernels with the same
 * names get the same inputs. Default fill: what only is read random (floats in −1 … 1, integers in 0 … 99), the rest 0.
 */
export function fillBuffer(
  buffer: BufferBinding,
  elements: number,
  fill: Fill | undefined,
  seed: number,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(bytesOf(buffer, elements));
  const view = new DataView(bytes.buffer);
  if (fill === undefined && buffer.writable) return bytes;
  const stream = [...buffer.name].reduce((hash, letter) => (hash * 31 + letter.codePointAt(0)!) >>> 0, 0);
  let drawn = 0;
  let block: ArrayLike<number> = [];
  eachLeaf(buffer, elements, (offset, scalar) => {
    if (drawn % 4 === 0) block = philox([drawn / 4, 0, stream, 0], seed);
    const u = block[drawn++ % 4]! / 2 ** 32;
    const float = scalar === 'f32' || scalar === 'f16';
    const { low, high } = fill ?? (float ? { low: -1, high: 1 } : { low: 0, high: 100 });
    const value = low + u * (high - low);
    setNumber(view, offset, scalar, float ? value : Math.floor(value));
  });
  return bytes;
}

/** A uniform on the device with the given numbers of its fields. */
export function writeUniform(
  device: GPUDevice,
  buffer: BufferBinding,
  values: ReadonlyMap<string, readonly number[]>,
): GPUBuffer {
  const size = Math.ceil(buffer.headBytes / 16) * 16;
  const bytes = new ArrayBuffer(size);
  const view = new DataView(bytes);
  for (const { name, leaves } of buffer.fields ?? [{ name: '', leaves: buffer.head }]) {
    const numbers = values.get(name)!;
    leaves.forEach(({ offset, scalar }, i) => {
      setNumber(view, offset, scalar, numbers[i]!);
    });
  }
  const uniform = device.createBuffer({ size, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(uniform, 0, bytes);
  return uniform;
}

/** One number alone, several in an array, fields in an object. */

/** The scalar that all numbers of a buffer have, if they have one. */
function scalarOf(buffer: BufferBinding): Scalar | undefined {
  const leaves: readonly Leaf[] = [...buffer.head, ...(buffer.element?.leaves ?? [])];
  const first = leaves[0]?.scalar;
  return leaves.every(({ scalar }) => scalar === first) ? first : undefined;
}

/** What lies in a buffer, padding included. */
export function contentsOf(buffer: BufferBinding, bytes: ArrayBuffer): Contents {
  switch (scalarOf(buffer)) {
    case 'f32':
      return new Float32Array(bytes);
    case 'f16':
      return halvesToFloats(new Uint16Array(bytes));
    case 'i32':
      return new Int32Array(bytes);
    default:
      return new Uint32Array(bytes);
  }
}

/**
 * Compares what a kernel wrote with what it should have: |got − want| ≤ tolerance · (1 + |want|), integers exactly.
 * @throws EliError `VALIDATION` that names the first and the worst element that is wrong.
 */
export function compareContents(
  where: string,
  got: Contents,
  want: ArrayLike<number>,
  tolerance: number,
): void {
  if (want.length !== got.length) {
    throw new EliError('ARGUMENT', `${where}: the check returned ${want.length} numbers for ${got.length}`);
  }
  const allowed = got instanceof Float32Array ? tolerance : 0;
  let wrong = 0;
  let first = -1;
  let worst = -1;
  let worstExcess = -1;
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    const difference = Math.abs(a - b) / (1 + Math.abs(b));
    if (Object.is(a, b) || a === b || difference <= allowed) continue;
    wrong++;
    if (first < 0) first = i;
    const excess = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    if (excess > worstExcess) [worst, worstExcess] = [i, excess];
  }
  if (wrong === 0) return;
  const at = (i: number): string => `[${i}] is ${got[i]}, expected ${want[i]}`;
  throw new EliError(
    'VALIDATION',
    `${where}${at(first)}; ${wrong} of ${got.length} are wrong${worst === first ? '' : `, the worst: ${at(worst)}`}`,
    { hint: `not timed. Allowed is ${allowed} · (1 + |expected|)${allowed > 0 ? ': see --tolerance' : ''}` },
  );
}
