import { brief, EliError } from '../errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { bytesOf, formatError, notValid } from './files.ts';
import { FLOAT_BYTES, type FloatDtype } from './floats.ts';
import type { ByteSource } from './input.ts';
import { duplicateKey, jsonRecord } from './json.ts';
import type { NumberArray } from './number-array.ts';

const MAGIC = '\x93NUMPY';
/** Magic, version, and the longest header length. */
const PREFIX_BYTES = 12;
/** The most that version 1.0 can have; NumPy refuses more than 10,000 by default. */
const MAX_HEADER_BYTES = 0xffff;
/** NumPy aligns the data to this. */
const ALIGNMENT = 64;

const DTYPES: Readonly<Record<string, FloatDtype>> = { f2: 'F16', f4: 'F32', f8: 'F64' };

/**
 * Reads the header of a .npy file of real numbers (NumPy's NEP 1, versions 1.0, 2.0 and 3.0) and checks it against the
 * size of the file.
 * @throws EliError `FORMAT` for everything else: another dtype, a damaged header, missing or trailing data.
 */
export async function readNpyLayout(source: ByteSource): Promise<NumberArray> {
  const wrong = (what: string): EliError => notValid(source.name, '.npy file', what);
  const bytes = await firstBytes(source, PREFIX_BYTES + MAX_HEADER_BYTES);
  const magic = new TextDecoder('latin1').decode(bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC) throw wrong('it does not begin with \\x93NUMPY');
  const [major, minor] = [bytes[6], bytes[7]];
  if (major === undefined || major < 1 || major > 3 || minor !== 0) {
    throw wrong(`version ${major}.${minor}, expected 1.0, 2.0 or 3.0`);
  }
  const lengthBytes = major === 1 ? 2 : 4;
  const headerStart = 8 + lengthBytes;
  if (bytes.length < headerStart) throw wrong('it is cut off in its header');
  const numbers = new DataView(bytes.buffer, bytes.byteOffset);
  const length = major === 1 ? numbers.getUint16(8, true) : numbers.getUint32(8, true);
  if (length > MAX_HEADER_BYTES)
    throw wrong(`header of ${length} bytes, expected at most ${MAX_HEADER_BYTES}`);
  const dataStart = headerStart + length;
  if (dataStart > bytes.length)
    throw wrong(`header of ${length} bytes, but only ${bytes.length - headerStart} bytes follow`);
  let text: string;
  try {
    const encoding = major === 3 ? 'utf-8' : 'latin1';
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes.subarray(headerStart, dataStart));
  } catch {
    throw wrong('its header is not UTF-8 text');
  }
  const header = parseDict(text);
  if (header === undefined)
    throw wrong(`its header is not a Python dict of plain values: ${brief(text.trim())}`);
  const keys = Object.keys(header).sort();
  if (keys.join() !== 'descr,fortran_order,shape')
    throw wrong(`its header has the keys ${brief(keys)}, expected descr, fortran_order, shape`);
  const { shape, fortran_order: fortran, descr } = header;
  if (!Array.isArray(shape) || Array.isArray(shape[0]))
    throw wrong('its shape is not a tuple of whole numbers');
  if (typeof fortran !== 'boolean') throw wrong('its fortran_order is neither True nor False');
  const { dtype, bigEndian } = typeOf(source.name, descr);
  if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0))
    throw wrong(`shape ${brief(shape)}, expected whole numbers from 0`);
  const size = shape.reduce((product, n) => product * n, FLOAT_BYTES[dtype]);
  const found = source.size - dataStart;
  if (size !== found) {
    const what = size > found ? 'the data is cut off' : 'other data follows';
    throw wrong(`shape ${brief(shape)} takes ${size} bytes, the file has ${found}: ${what}`);
  }
  return { source, dtype, bigEndian, shape, byColumn: fortran, start: dataStart };
}

function typeOf(name: string, descr: unknown): { dtype: FloatDtype; bigEndian: boolean } {
  const [, order, type = ''] = /^([<>])(\w+)$/.exec(typeof descr === 'string' ? descr : '') ?? [];
  if (Object.hasOwn(DTYPES, type)) return { dtype: DTYPES[type]!, bigEndian: order === '>' };
  const shown = typeof descr === 'string' ? brief(descr) : 'a structured dtype';
  throw formatError(
    `${name} holds ${shown}, expected float16, float32 or float64 (f2, f4 or f8)`,
    "write array.astype('<f4')",
  );
}

/** The first `n` bytes, or all of a shorter source. */
async function firstBytes(source: ByteSource, n: number): Promise<Uint8Array<ArrayBuffer>> {
  const length = Math.min(n, source.size);
  for await (const piece of source.pieces(0, length, length)) return piece;
  return new Uint8Array(0);
}

/** A Python token: a string without escapes, a whole number (Python 2: with an L), a truth value, punctuation. */
const TOKEN = /\s*(?:'([^'\\\n]*)'|"([^"\\\n]*)"|(-?\d+)L?\b|(True|False)\b|([{}()[\],:])|$)/y;
/** Brackets in JSON: a list, which only structured dtypes have, becomes an array in an array. */
const SIGNS: Readonly<Record<string, string>> = { '(': '[', ')': ']', '[': '[[', ']': ']]' };

/** A Python dict of strings, booleans, whole numbers, tuples and lists; `undefined` when the text is anything else. */
function parseDict(text: string): Record<string, unknown> | undefined {
  const json: string[] = [];
  for (TOKEN.lastIndex = 0; ; ) {
    const match = TOKEN.exec(text);
    if (match === null) return undefined;
    const [, single, double, number, truth, sign] = match;
    const string = single ?? double;
    if (string !== undefined) json.push(JSON.stringify(string));
    else if (number !== undefined) json.push(String(Number(number)));
    else if (truth !== undefined) json.push(truth.toLowerCase());
    else if (sign === undefined) break;
    else {
      // Python allows a comma after the last item.
      if (')]}'.includes(sign) && json.at(-1) === ',' && !/[[{,:]$/.test(json.at(-2)!)) json.pop();
      json.push(SIGNS[sign] ?? sign);
    }
  }
  // With spaces, so that two adjacent numbers stay apart.
  const converted = json.join(' ');
  const dict = jsonRecord(converted);
  if (dict === undefined || duplicateKey(converted) !== undefined) return undefined;
  const plain = (value: unknown): boolean =>
    Array.isArray(value)
      ? Array.isArray(value[0]) || value.every((item) => typeof item === 'number')
      : typeof value === 'string' || typeof value === 'boolean';
  return Object.values(dict).every(plain) ? dict : undefined;
}

/** The header of a .npy file of float32 in C order, padded as NumPy does; version 1.0. */
export function npyHeader(shape: readonly number[]): Uint8Array<ArrayBuffer> {
  const tuple = `(${shape.join(', ')}${shape.length === 1 ? ',' : ''})`;
  const dict = `{'descr': '<f4', 'fortran_order': False, 'shape': ${tuple}, }`;
  const total = Math.ceil((10 + dict.length + 1) / ALIGNMENT) * ALIGNMENT;
  const text = `${MAGIC}\x01\0\0\0${dict.padEnd(total - 11)}\n`;
  const bytes = Uint8Array.from(Buffer.from(text, 'latin1'));
  new DataView(bytes.buffer).setUint16(8, total - 10, true);
  return bytes;
}

/**
 * Writes float32 numbers to a .npy file (version 1.0) as they come, whole or not at all.
 * @param batches the elements of `shape` in row-major order, in arrays of any length; an error thrown by the iterator
 *   is passed on, and no file is left behind
 * @throws EliError `FILE` when it cannot be written, `SHAPE` when the batches do not fill the shape
 */
export async function writeNpy(
  path: string,
  shape: readonly number[],
  batches: Iterable<Float32Array> | AsyncIterable<Float32Array>,
): Promise<void> {
  const wanted = shape.reduce((product, n) => product * n, 1);
  async function* content(): AsyncGenerator<Uint8Array> {
    yield npyHeader(shape);
    let done = 0;
    for await (const batch of batches) {
      done += batch.length;
      yield bytesOf(batch);
    }
    if (done !== wanted)
      throw new EliError('SHAPE', `${path}: ${done} numbers do not fill the shape (${shape.join(', ')})`);
  }
  await writeFileAtomic(path, content());
}
