import { formatError, MAX_FILE_BYTES } from './files.ts';
import { FLOAT_BYTES, type FloatDtype, floatsOf } from './floats.ts';
import type { ByteSource } from './input.ts';

/** An array of numbers in a file; `start` is its first byte in `source`. */
export interface NumberArray {
  readonly source: ByteSource;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  readonly start: number;
  /** The most significant byte of a number comes first. */
  readonly bigEndian?: boolean;
  /** The first index runs fastest (Fortran order): a matrix lies column by column. */
  readonly byColumn?: boolean;
}

/** Bytes of a block of rows that are gathered from the columns of a file, so that few and long pieces are read. */
const BLOCK_BYTES = 16 << 20;

/**
 * The rows of a matrix in order, as float32, `rowsPerBatch` in a batch; the last batch may be shorter.
 * @throws EliError `FORMAT`, `FILE`
 */
export async function* rowsOf(
  array: NumberArray,
  rowsPerBatch: number,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const [rows, dim] = array.shape as [number, number];
  if (array.byColumn && rows > 1 && dim > 1) yield* rowsOfColumns(array, rows, dim, rowsPerBatch);
  else yield* numbersOf(array, 0, rows * dim, rowsPerBatch * dim);
}

/** `count` numbers from the number `first` on, in the order of the file. */
async function* numbersOf(
  { source, dtype, start, bigEndian }: NumberArray,
  first: number,
  count: number,
  piece: number,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const size = FLOAT_BYTES[dtype];
  for await (const bytes of source.pieces(start + first * size, count * size, piece * size)) {
    if (bigEndian) swapBytes(bytes, size);
    yield floatsOf(dtype, bytes);
  }
}

function swapBytes(bytes: Uint8Array<ArrayBuffer>, size: number): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (size === 2) buffer.swap16();
  else if (size === 4) buffer.swap32();
  else buffer.swap64();
}

async function* rowsOfColumns(
  array: NumberArray,
  rows: number,
  dim: number,
  rowsPerBatch: number,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  if (array.source.sequential) {
    yield* rowsOfStream(array, rows, dim, rowsPerBatch);
    return;
  }
  const batches = Math.max(1, Math.floor(BLOCK_BYTES / (4 * dim * rowsPerBatch)));
  const most = batches * rowsPerBatch;
  for (let row = 0; row < rows; row += most) {
    const count = Math.min(most, rows - row);
    const block = new Float32Array(count * dim);
    for (let column = 0; column < dim; column++) {
      for await (const numbers of numbersOf(array, column * rows + row, count, count))
        for (let i = 0; i < count; i++) block[i * dim + column] = numbers[i]!;
    }
    yield* inBatches(block, rowsPerBatch * dim);
  }
}

/** All of them at once: a stream would have to be read again for each column of each block. */
async function* rowsOfStream(
  array: NumberArray,
  rows: number,
  dim: number,
  rowsPerBatch: number,
): AsyncGenerator<Float32Array<ArrayBuffer>> {
  const { source } = array;
  if (4 * rows * dim > MAX_FILE_BYTES) {
    throw formatError(
      `${source.name} is packed, in Fortran order (column by column), and takes ${4 * rows * dim} bytes: at most ${MAX_FILE_BYTES} are read`,
      'write it with numpy.save, or write numpy.ascontiguousarray(array)',
    );
  }
  const all = new Float32Array(rows * dim);
  let at = 0;
  for await (const numbers of numbersOf(array, 0, rows * dim, 1 << 16)) {
    for (const number of numbers) {
      all[(at % rows) * dim + Math.floor(at / rows)] = number;
      at++;
    }
  }
  yield* inBatches(all, rowsPerBatch * dim);
}

function* inBatches(
  numbers: Float32Array<ArrayBuffer>,
  length: number,
): Generator<Float32Array<ArrayBuffer>> {
  for (let at = 0; at < numbers.length; at += length) yield numbers.slice(at, at + length);
}
