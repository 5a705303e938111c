import { EliError } from '../errors.ts';
import { floatsToHalves, halvesToFloats } from '../files/floats.ts';
import { philox } from '../tensor/random.ts';
import type { BufferBinding, Leaf, Scalar } from '../wgsl/interface.ts';

/** Initial contents of a buffer: random numbers, low ≤ v < high, or one number everywhere if both are equal. */
export interface Fill {
  readonly low: number;
  readonly high: number;
}

/** Contents of a buffer in the type of its numbers (f16 as f32), or as words where it mixes types. */
export type Contents = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** The numbers of a buffer with so many elements, in the order in which they lie in memory. */
function* leavesOf({ head, headBytes, element }: BufferBinding, elements: number): Iterable<Leaf> {
  yield* head;
  if (element === undefined) return;
  for (let i = 0; i < elements; i++) {
    const at = headBytes + i * element.stride;
    for (const { offset, scalar } of element.leaves) yield { offset: at + offset, scalar };
  }
}

/** Bytes of a buffer with so many elements. */
export function bytesOf(buffer: BufferBinding, elements: number): number {
  const bytes = buffer.headBytes + elements * (buffer.element?.stride ?? 0);
  return Math.ceil(bytes / 4) * 4;
}

/** Writes a number in its type. */
function setNumber(view: DataView, offset: number, scalar: Scalar, value: number): void {
  if (scalar === 'f32') view.setFloat32(offset, value, true);
  else if (scalar === 'f16') view.setUint16(offset, floatsToHalves([value])[0]!, true);
  else view.setUint32(offset, value, true);
}

/**
 * The bytes of a filled buffer. Random numbers depend on `seed` and the buffer's name only, so that kernels with the same
 * names get the same inputs. By default read-only buffers are random (floats in [−1, 1), integers in 0 … 99), others 0.
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
  for (const { offset, scalar } of leavesOf(buffer, elements)) {
    if (drawn % 4 === 0) block = philox([drawn / 4, 0, stream, 0], seed);
    const u = block[drawn++ % 4]! / 2 ** 32;
    const float = scalar === 'f32' || scalar === 'f16';
    const { low, high } = fill ?? (float ? { low: -1, high: 1 } : { low: 0, high: 100 });
    const value = low + u * (high - low);
    setNumber(view, offset, scalar, float ? value : Math.floor(value));
  }
  return bytes;
}

/** A uniform on the device with these numbers, in the order in which they lie in memory. */
export function writeUniform(
  device: GPUDevice,
  { head, headBytes }: BufferBinding,
  numbers: readonly number[],
): GPUBuffer {
  const size = Math.ceil(headBytes / 16) * 16;
  const bytes = new ArrayBuffer(size);
  const view = new DataView(bytes);
  for (const [i, { offset, scalar }] of head.entries()) setNumber(view, offset, scalar, numbers[i]!);
  const uniform = device.createBuffer({ size, usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(uniform, 0, bytes);
  return uniform;
}

/** The contents of a buffer, padding included. */
export function contentsOf(buffer: BufferBinding, bytes: ArrayBuffer): Contents {
  const scalars = new Set([...leavesOf(buffer, 1)].map(({ scalar }) => scalar));
  switch (scalars.size === 1 ? [...scalars][0] : undefined) {
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
 * Compares what a kernel wrote with what it should write: |got − want| ≤ tolerance · (1 + |want|), integers exactly.
 * @throws EliError `VALIDATION` naming the first and the worst wrong element; `ARGUMENT` for a wrong number of elements
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
  let [wrong, first, worst, most] = [0, -1, -1, -1];
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    const difference = Math.abs(a - b) / (1 + Math.abs(b));
    if (Object.is(a, b) || a === b || difference <= allowed) continue;
    if (wrong++ === 0) first = i;
    const excess = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
    if (excess > most) [worst, most] = [i, excess];
  }
  if (wrong === 0) return;
  const at = (i: number): string => `[${i}] is ${got[i]}, expected ${want[i]}`;
  throw new EliError(
    'VALIDATION',
    `${where}${at(first)}; ${wrong} of ${got.length} are wrong${worst === first ? '' : `, the worst: ${at(worst)}`}`,
    { hint: `not timed. Allowed is ${allowed} · (1 + |expected|)${allowed > 0 ? ': see --tolerance' : ''}` },
  );
}
