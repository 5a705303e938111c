import { brief, EliError, isRecord } from '../errors.ts';
import { writeFileAtomic } from './atomic.ts';
import { digest, HEADER_DIGEST, NO_DIGEST, sealHeader, TENSOR_DIGESTS, takeDigests } from './checksums.ts';
import { bytesOf, MAX_FILE_BYTES, notValid, readFileBytes } from './files.ts';
import { floatsOf, isFloat } from './floats.ts';
import type { InputFile } from './input.ts';
import { duplicateKey } from './json.ts';

/**
 * The element types and the arrays that hold their bits as in the file: halves (F16, BF16) are uint16 and BOOL is a
 * byte. The file is little-endian, and so is every machine with WebGPU.
 */
const ARRAYS = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
  U64: BigUint64Array,
  I32: Int32Array,
  U32: Uint32Array,
  I16: Int16Array,
  U16: Uint16Array,
  I8: Int8Array,
  U8: Uint8Array,
  BOOL: Uint8Array,
} as const;

/** Element types of safetensors files. */
export type SafetensorsDtype = keyof typeof ARRAYS;

/** A tensor in row-major order; `data` has as many elements as the product of `shape` ([] is a scalar). */
export type SafetensorsEntry = {
  [D in SafetensorsDtype]: {
    readonly dtype: D;
    readonly shape: readonly number[];
    readonly data: InstanceType<(typeof ARRAYS)[D]>;
  };
}[SafetensorsDtype];

/** A tensor to write: `data` is the array type of `dtype`, or raw little-endian bytes. */
export interface SafetensorsInput {
  readonly dtype: SafetensorsDtype;
  readonly shape: readonly number[];
  readonly data: SafetensorsEntry['data'];
}

/** The records have no prototype, so that any name is a plain key. */
export interface Safetensors {
  readonly tensors: Readonly<Record<string, SafetensorsEntry>>;
  /** Element types of the tensors that are not in `tensors`, as theirs are not read here (such as F8_E4M3), by name. */
  readonly unread: Readonly<Record<string, string>>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** How a file is written. */
export interface SafetensorsOptions {
  /**
   * Adds SHA-256 digests of the header and of each tensor to the metadata; reading checks and removes them. Default
   * false.
   */
  readonly checksums?: boolean;
}

const PREFIX_BYTES = 8;
/** The limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;
const METADATA = '__metadata__';

/**
 * The bytes of a safetensors file (https://huggingface.co/docs/safetensors): header length as uint64, JSON header
 * padded with spaces to a multiple of 8, data. Equal content gives equal bytes: tensors are ordered by decreasing
 * element size, so that each is aligned, then by name; metadata by name.
 * @throws EliError `ARGUMENT` for a tensor whose dtype, shape and data do not fit, or a reserved name.
 */
export function encodeSafetensors(
  tensors: Readonly<Record<string, SafetensorsInput>>,
  metadata: Readonly<Record<string, string>> = {},
  { checksums = false }: SafetensorsOptions = {},
): Uint8Array<ArrayBuffer> {
  const entries = Object.entries(tensors).sort(
    ([a, { dtype: p }], [b, { dtype: q }]) => elementBytes(q) - elementBytes(p) || compareNames(a, b),
  );
  const notes = Object.entries(checksums ? withDigests(entries, metadata) : metadata).sort(([a], [b]) =>
    compareNames(a, b),
  );
  for (const [key, value] of notes) {
    if (typeof value !== 'string')
      throw new EliError('ARGUMENT', `metadata ${key} is not a string: ${value}`);
  }
  const fields: (readonly [name: string, json: string])[] = [];
  if (notes.length > 0)
    fields.push([METADATA, jsonObject(notes.map(([key, value]) => [key, JSON.stringify(value)]))]);
  let dataBytes = 0;
  for (const [name, entry] of entries) {
    checkInput(name, entry);
    const { dtype, shape } = entry;
    const end = dataBytes + entry.data.byteLength;
    fields.push([name, JSON.stringify({ dtype, shape, data_offsets: [dataBytes, end] })]);
    dataBytes = end;
  }
  const json = jsonObject(fields);
  const padding = (PREFIX_BYTES - (Buffer.byteLength(json) % PREFIX_BYTES)) % PREFIX_BYTES;
  const text = json + ' '.repeat(padding);
  const header = new TextEncoder().encode(checksums ? sealHeader(text) : text);
  const dataStart = PREFIX_BYTES + header.length;
  if (header.length > MAX_HEADER_BYTES || dataStart + dataBytes > MAX_FILE_BYTES) {
    throw new EliError(
      'ARGUMENT',
      `safetensors: header of ${header.length} and data of ${dataBytes} bytes, at most ${MAX_HEADER_BYTES} and ${MAX_FILE_BYTES} in all`,
      { hint: 'write several files' },
    );
  }

  const bytes = new Uint8Array(dataStart + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(header, PREFIX_BYTES);
  let at = dataStart;
  for (const [, { data }] of entries) {
    bytes.set(bytesOf(data), at);
    at += data.byteLength;
  }
  return bytes;
}

function withDigests(
  entries: readonly (readonly [string, SafetensorsInput])[],
  metadata: Readonly<Record<string, string>>,
): Record<string, string> {
  const digests = entries.map(([name, { data }]) => [name, JSON.stringify(digest(bytesOf(data)))] as const);
  return { ...metadata, [TENSOR_DIGESTS]: jsonObject(digests), [HEADER_DIGEST]: NO_DIGEST };
}

/**
 * The tensors and metadata in the bytes of a safetensors file, as copies; checksums are checked if present. A tensor of
 * an element type that is not read here does not make its neighbours unreadable.
 * @param name for messages.
 * @throws EliError `FORMAT` for anything the format forbids: what and where is in the message.
 */
export function decodeSafetensors(bytes: Uint8Array, name = 'safetensors data'): Safetensors {
  const wrong = notSafetensors(name);
  const dataStart = PREFIX_BYTES + headerLength(bytes, bytes.length, wrong);
  const header = bytes.subarray(PREFIX_BYTES, dataStart);
  const { layout, metadata, digests } = parseLayout(header, bytes.length - dataStart, wrong);
  const tensors: Record<string, SafetensorsEntry> = Object.create(null);
  const unread: Record<string, string> = Object.create(null);
  for (const [key, { dtype, shape, start, bytes: length }] of Object.entries(layout)) {
    // Copied to a new buffer: the format does not guarantee alignment.
    const raw = new Uint8Array(length);
    raw.set(bytes.subarray(dataStart + start, dataStart + start + length));
    if (digests !== undefined && digests[key] !== digest(raw))
      throw wrong(`the checksum of tensor ${brief(key)} does not match its data`);
    if (!isKnown(dtype)) unread[key] = dtype;
    else tensors[key] = { dtype, shape, data: new ARRAYS[dtype](raw.buffer) } as SafetensorsEntry;
  }
  return { tensors, unread, metadata };
}

/** Where a tensor lies in a safetensors file, in bytes from the start of the file. */
export interface SafetensorsPlace {
  /** A `SafetensorsDtype`, or one that is not read here. */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly start: number;
  readonly bytes: number;
}

/**
 * Where each tensor lies in a safetensors file. Only the header is read, so that one tensor of a file of any size can
 * then be read in pieces. The record has no prototype.
 * @throws EliError `FORMAT` for anything the format forbids, `FILE`.
 */
export async function readSafetensorsLayout(
  file: InputFile,
): Promise<Readonly<Record<string, SafetensorsPlace>>> {
  const wrong = notSafetensors(file.name);
  const prefix = await file.read(0, Math.min(PREFIX_BYTES, file.size));
  const header = await file.read(PREFIX_BYTES, headerLength(prefix, file.size, wrong));
  const dataStart = PREFIX_BYTES + header.length;
  const { layout } = parseLayout(header, file.size - dataStart, wrong);
  for (const [key, place] of Object.entries(layout))
    layout[key] = { ...place, start: dataStart + place.start };
  return layout;
}

/**
 * Reads a safetensors file.
 * @throws EliError `FILE` when it cannot be read, `FORMAT` when its content is wrong.
 */
export async function readSafetensors(path: string): Promise<Safetensors> {
  return decodeSafetensors(await readFileBytes(path), path);
}

/**
 * Writes a safetensors file, whole or not at all.
 * @throws EliError as `encodeSafetensors`, and `FILE` when it cannot be written.
 */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, SafetensorsInput>>,
  metadata: Readonly<Record<string, string>> = {},
  options: SafetensorsOptions = {},
): Promise<void> {
  await writeFileAtomic(path, encodeSafetensors(tensors, metadata, options));
}

/** The elements as float32: F32 shares its memory, F16 and BF16 are exact, others are rounded. */
export function toFloat32({ dtype, data }: SafetensorsEntry): Float32Array<ArrayBuffer> {
  if (isFloat(dtype)) return floatsOf(dtype, bytesOf(data as ArrayBufferView<ArrayBuffer>));
  return Float32Array.from(data as Int32Array, Number);
}

/** How the format names element types, also those of later versions. */
const DTYPE = /^[A-Z][A-Z0-9_]*$/;

function isKnown(dtype: string): dtype is SafetensorsDtype {
  return Object.hasOwn(ARRAYS, dtype);
}

function elementBytes(dtype: SafetensorsDtype): number {
  return ARRAYS[dtype]?.BYTES_PER_ELEMENT ?? 0;
}

/** By UTF-16 unit: the same on every machine, unlike a comparison that depends on the locale. */
function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Members in this order; a JavaScript object would put names that look like numbers first. */
function jsonObject(members: readonly (readonly [name: string, json: string])[]): string {
  return `{${members.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(',')}}`;
}

function checkInput(name: string, { dtype, shape, data }: SafetensorsInput): void {
  const wrong: Wrong = (what) => new EliError('ARGUMENT', `safetensors: tensor ${name}: ${what}`);
  if (name === METADATA) throw wrong('this name is reserved');
  if (!isKnown(dtype)) throw wrong(`dtype ${dtype}, expected one of ${Object.keys(ARRAYS).join(', ')}`);
  if (!(data instanceof ARRAYS[dtype] || data instanceof Uint8Array)) {
    throw wrong(
      `dtype ${dtype} needs a ${ARRAYS[dtype].name} or raw bytes, data is a ${data.constructor.name}`,
    );
  }
  const expected = shape.every(isCount) ? byteLength(shape, dtype) : undefined;
  if (expected !== data.byteLength) {
    throw wrong(
      `${dtype} of shape [${shape}] takes ${expected ?? 'no valid number of'} bytes, data has ${data.byteLength}`,
    );
  }
}

/** Makes the error for what is wrong in a file. */
type Wrong = (what: string) => EliError;

function notSafetensors(name: string): Wrong {
  return (what) => notValid(name, 'safetensors file', what);
}

/** Length of the header in bytes, from the first eight bytes of the file. */
function headerLength(prefix: Uint8Array, fileBytes: number, wrong: Wrong): number {
  if (fileBytes < PREFIX_BYTES) throw wrong(`${fileBytes} bytes, expected at least ${PREFIX_BYTES}`);
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES)
    throw wrong(`header of ${length} bytes, expected at most ${MAX_HEADER_BYTES}`);
  if (PREFIX_BYTES + Number(length) > fileBytes) {
    throw wrong(`header of ${length} bytes, but only ${fileBytes - PREFIX_BYTES} bytes follow`);
  }
  return Number(length);
}

/** Its places count from the start of the data. */
function parseLayout(header: Uint8Array, dataBytes: number, wrong: Wrong) {
  const { text, content } = parseHeader(header, wrong);
  const metadata: Record<string, string> = Object.create(null);
  const layout: Record<string, SafetensorsPlace> = Object.create(null);
  for (const [key, value] of Object.entries(content)) {
    if (key === METADATA) Object.assign(metadata, checkMetadata(value, wrong));
    else layout[key] = checkEntry(key, value, dataBytes, wrong);
  }
  const digests = takeDigests(text, metadata, wrong);
  checkCover(layout, dataBytes, wrong);
  return { layout, metadata, digests };
}

function parseHeader(bytes: Uint8Array, wrong: Wrong): { text: string; content: Record<string, unknown> } {
  let content: unknown;
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    content = JSON.parse(text);
  } catch (cause) {
    throw wrong(`its header is not JSON (${(cause as Error).message})`);
  }
  if (text[0] !== '{' || !isRecord(content))
    throw wrong('its header does not begin with {, expected a JSON object');
  const twice = duplicateKey(text);
  if (twice !== undefined) throw wrong(`its header has the key ${brief(twice)} twice`);
  return { text, content };
}

function checkMetadata(value: unknown, wrong: Wrong): object {
  if (isRecord(value) && Object.values(value).every((item) => typeof item === 'string')) return value;
  throw wrong(`${METADATA} is not an object of strings`);
}

function checkEntry(key: string, value: unknown, dataBytes: number, wrongFile: Wrong): SafetensorsPlace {
  const wrong: Wrong = (what) => wrongFile(`tensor ${brief(key)}: ${what}`);
  if (!isRecord(value)) throw wrong(`${brief(value)}, expected an object with dtype, shape and data_offsets`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (typeof dtype !== 'string' || !DTYPE.test(dtype)) {
    throw wrong(`dtype ${brief(dtype)}, expected a name such as ${Object.keys(ARRAYS).join(', ')}`);
  }
  if (!Array.isArray(shape) || !shape.every(isCount)) {
    throw wrong(`shape ${brief(shape)}, expected a list of whole numbers from 0`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw wrong(`data_offsets ${brief(offsets)}, expected two whole numbers from 0`);
  }
  const [begin, end] = offsets as [number, number];
  if (begin > end || end > dataBytes) {
    throw wrong(
      `data_offsets [${begin}, ${end}], expected begin ≤ end ≤ ${dataBytes} (the bytes of data in the file)`,
    );
  }
  const bytes = end - begin;
  // Of a type that is not known, no more can be checked: some pack several elements into a byte.
  if (!isKnown(dtype)) return { dtype, shape, start: begin, bytes };
  const expected = byteLength(shape, dtype);
  if (expected !== bytes) {
    throw wrong(
      `${dtype} of shape ${brief(shape)} takes ${expected ?? 'over 2^53'} bytes, its data_offsets span ${bytes}`,
    );
  }
  return { dtype, shape, start: begin, bytes };
}

/** The format requires tensors to cover the data without gap or overlap, so that nothing can hide in a file. */
function checkCover(
  layout: Readonly<Record<string, SafetensorsPlace>>,
  dataBytes: number,
  wrong: Wrong,
): void {
  let covered = 0;
  const order = Object.entries(layout).sort(([, a], [, b]) => a.start - b.start || a.bytes - b.bytes);
  for (const [key, { start, bytes }] of order) {
    if (start !== covered) {
      const what = start < covered ? 'overlaps the tensor before it' : 'leaves a hole before it';
      throw wrong(`tensor ${brief(key)} at byte ${start} of the data ${what}, expected ${covered}`);
    }
    covered += bytes;
  }
  if (covered !== dataBytes) throw wrong(`${dataBytes} bytes of data, its tensors cover ${covered}`);
}

/** The number of bytes, or `undefined` when it is not exactly representable. */
function byteLength(shape: readonly number[], dtype: SafetensorsDtype): number | undefined {
  let total = elementBytes(dtype);
  for (const size of shape) {
    total *= size;
    if (!Number.isSafeInteger(total)) return undefined;
  }
  return total;
}

/** A whole number from 0; JSON can also contain -0. */
function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && !Object.is(value, -0);
}
