import { createGunzip } from 'node:zlib';
import { EliError } from '../errors.ts';
import { bytesOf, formatError, MAX_FILE_BYTES } from '../files/files.ts';

/** An array of unsigned bytes in row-major order; `data` has as many elements as the product of `shape`. */
interface IdxArray {
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** The element types of the format by code (third byte of the file). Only the first is supported. */
const TYPES: Readonly<Record<number, string>> = {
  8: 'uint8',
  9: 'int8',
  11: 'int16',
  12: 'int32',
  13: 'float32',
  14: 'float64',
};
const UINT8 = 8;
const MAX_DIMENSIONS = 8;

/**
 * Parses the uncompressed bytes of an IDX file: 0, 0, type code, number of dimensions, the dimensions as big-endian
 * uint32, the elements (http://yann.lecun.com/exdb/mnist/). `data` of the result is a view of `bytes`.
 * @param name for messages.
 * @throws EliError `FORMAT` for a wrong magic number, type, dimension or length.
 */
export function parseIdx(bytes: Uint8Array, name: string): IdxArray {
  const header = parseHeader(bytes, name);
  if (bytes.length !== header.total) throw wrongLength(name, header, bytes.length);
  return { shape: header.shape, data: bytes.subarray(header.offset) };
}

/**
 * The uncompressed bytes of an IDX file: `bytes` itself, or its content when it is gzipped. Unpacking stops at the
 * length that the header gives.
 * @throws EliError `FORMAT` for a damaged archive, or content that is not as long as its header says.
 */
export async function unpackIdx(bytes: Uint8Array, name: string): Promise<Uint8Array> {
  if (!(bytes[0] === 0x1f && bytes[1] === 0x8b)) return bytes;
  const gunzip = createGunzip({ chunkSize: 1 << 16 });
  gunzip.end(bytes);
  const chunks: Uint8Array[] = [];
  let length = 0;
  let header: IdxHeader | undefined;
  try {
    for await (const chunk of gunzip as AsyncIterable<Uint8Array>) {
      header ??= parseHeader(chunk, name);
      chunks.push(chunk);
      length += chunk.length;
      if (length > header.total) throw wrongLength(name, header, 'more');
    }
  } catch (cause) {
    if (cause instanceof EliError) throw cause;
    const what = `the gzip data is damaged or cut off (${(cause as Error).message})`;
    throw formatError(`${name}: ${what}`, 'download the file again', cause);
  }
  header ??= parseHeader(new Uint8Array(0), name);
  if (length !== header.total) throw wrongLength(name, header, length);
  return bytesOf(Buffer.concat(chunks));
}

/** `offset`: bytes before the data; `total`: with the data. */
interface IdxHeader {
  readonly shape: readonly number[];
  readonly offset: number;
  readonly total: number;
}

function parseHeader(bytes: Uint8Array, name: string): IdxHeader {
  const wrong = (found: string): EliError =>
    formatError(
      `${name} is not an IDX file of bytes: ${found}`,
      'expected are 0, 0, 8 (uint8), the number of dimensions, their sizes as big-endian uint32, then the data',
    );
  if (bytes.length < 4) throw wrong(`${bytes.length} bytes, expected at least 4 for the magic number`);
  const [zero, zero2, type, rank] = bytes as unknown as [number, number, number, number];
  const magic = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  if (zero !== 0 || zero2 !== 0 || TYPES[type] === undefined) {
    throw wrong(`it begins with ${magic}, expected 00 00 08 and the number of dimensions`);
  }
  if (type !== UINT8)
    throw wrong(`its elements are ${TYPES[type]} (code ${type}), expected uint8 (code ${UINT8})`);
  if (rank < 1 || rank > MAX_DIMENSIONS) throw wrong(`${rank} dimensions, expected 1 to ${MAX_DIMENSIONS}`);
  const offset = 4 + 4 * rank;
  if (bytes.length < offset) throw wrong(`${bytes.length} bytes, expected ${offset} for the header alone`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, offset);
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis));
  if (shape.includes(0)) throw wrong(`it is empty, its shape is [${shape}]`);
  let total = offset;
  // Sizes are at most 2³² and the loop stops at 2³¹, so the products are exact.
  for (let axis = 0, elements = 1; axis < rank; axis++) {
    elements *= shape[axis]!;
    total = offset + elements;
    if (total > MAX_FILE_BYTES) throw wrong(`shape [${shape}] needs over ${MAX_FILE_BYTES} bytes`);
  }
  return { shape, offset, total };
}

function wrongLength(name: string, { shape, total }: IdxHeader, found: number | 'more'): EliError {
  return formatError(
    `${name}: its header says shape [${shape}], that is ${total} bytes in all; found ${found}`,
    found !== 'more' && found < total
      ? 'the file is cut off: download it again'
      : 'the file is damaged or of another format',
  );
}
