import { pipeline, Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { EliError } from '../errors.ts';
import { formatError, notValid } from './files.ts';
import type { ByteSource, InputFile } from './input.ts';

const END = 0x06054b50;
const END_BYTES = 22;
const END_COMMENT_BYTES = 0xffff;
const LOCATOR64 = 0x07064b50;
const LOCATOR64_BYTES = 20;
const END64 = 0x06064b50;
const END64_BYTES = 56;
const CENTRAL = 0x02014b50;
const CENTRAL_BYTES = 46;
const LOCAL = 0x04034b50;
const LOCAL_BYTES = 30;
const EXTRA64 = 1;
/** "The number is in the ZIP64 field." */
const IN_EXTRA = 0xffffffff;

const STORED = 0;
const DEFLATED = 8;

/** A directory of hundreds of thousands of members; more is not what holds arrays. */
const MAX_DIRECTORY_BYTES = 16 << 20;
const READ_BYTES = 256 << 10;

interface Entry {
  readonly name: string;
  readonly encrypted: boolean;
  readonly method: number;
  readonly crc: number;
  readonly packedBytes: number;
  readonly bytes: number;
  /** Where the member's own header is. */
  readonly header: number;
}

/**
 * Reads members of a ZIP archive (PKWARE's APPNOTE.TXT 6.3.10), stored or deflated, also ZIP64, as streams of bounded
 * memory whose length and CRC-32 are checked.
 *
 * Why not a package: of the usual ones, those that stream leave out the CRC, and throw where nobody can catch it when
 * a ZIP64 offset is damaged.
 */
export class ZipArchive {
  readonly #file: InputFile;
  readonly #entries: ReadonlyMap<string, Entry>;

  private constructor(file: InputFile, entries: ReadonlyMap<string, Entry>) {
    this.#file = file;
    this.#entries = entries;
  }

  /** Reads the directory. @throws EliError `FORMAT` for no archive or a damaged one. */
  static async open(file: InputFile): Promise<ZipArchive> {
    const { start, bytes, count } = await findDirectory(file);
    if (bytes > MAX_DIRECTORY_BYTES)
      throw wrong(file, `a directory of ${bytes} bytes, at most 16 MiB are read`);
    return new ZipArchive(file, parseDirectory(file, await file.read(start, bytes), count));
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  /** The member of that name, which must be there. @throws EliError `FORMAT` for an encrypted or oddly packed one. */
  async member(name: string): Promise<ByteSource> {
    const file = this.#file;
    const entry = this.#entries.get(name)!;
    const label = `${file.name}:${name}`;
    if (entry.encrypted) throw formatError(`${label} is encrypted`, 'write the archive without a password');
    if (entry.method !== STORED && entry.method !== DEFLATED) {
      throw formatError(
        `${label} is packed by method ${entry.method}, only stored (0) and deflated (8) members are read`,
        'write it with numpy.savez or numpy.savez_compressed',
      );
    }
    const header = view(await file.read(entry.header, LOCAL_BYTES));
    if (header.getUint32(0, true) !== LOCAL) throw wrong(file, `no member header at byte ${entry.header}`);
    const start = entry.header + LOCAL_BYTES + header.getUint16(26, true) + header.getUint16(28, true);
    if (
      start + entry.packedBytes > file.size ||
      (entry.method === STORED && entry.packedBytes !== entry.bytes)
    ) {
      throw wrong(
        file,
        `member ${name} of ${entry.bytes} bytes takes ${entry.packedBytes} from byte ${start} of ${file.size}`,
      );
    }
    return {
      name: label,
      size: entry.bytes,
      pieces: (first, length, piece) =>
        regroup(checked(unpack(file, entry, start), entry, file), first, length, piece),
    };
  }
}

function view(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function wrong(file: InputFile, what: string): EliError {
  return notValid(file.name, 'ZIP archive', what);
}

/** Where the directory is and how many entries it has. */
interface Directory {
  readonly start: number;
  readonly bytes: number;
  readonly count: number;
}

/** Finds the directory from the record at the end of the file, which a comment may follow. */
async function findDirectory(file: InputFile): Promise<Directory> {
  const length = Math.min(file.size, LOCATOR64_BYTES + END_BYTES + END_COMMENT_BYTES);
  const origin = file.size - length;
  const tail = view(await file.read(origin, length));
  for (let at = length - END_BYTES; at >= 0; at--) {
    // The comment must reach to the end, so that the four bytes inside a comment are not taken for the record.
    if (tail.getUint32(at, true) !== END || at + END_BYTES + tail.getUint16(at + 20, true) !== length)
      continue;
    const locator = at - LOCATOR64_BYTES;
    const large = locator >= 0 && tail.getUint32(locator, true) === LOCATOR64;
    const found = large
      ? await readEnd64(file, count64(file, tail, locator + 8))
      : {
          count: tail.getUint16(at + 10, true),
          bytes: tail.getUint32(at + 12, true),
          start: tail.getUint32(at + 16, true),
        };
    if (found.start + found.bytes > origin + at) {
      throw wrong(file, `its directory of ${found.bytes} bytes at byte ${found.start} goes beyond its end`);
    }
    return found;
  }
  throw wrong(file, 'it has no directory at its end');
}

async function readEnd64(file: InputFile, at: number): Promise<Directory> {
  const end = view(await file.read(at, END64_BYTES));
  if (end.getUint32(0, true) !== END64) throw wrong(file, `no ZIP64 end record at byte ${at}`);
  const [count, bytes, start] = [32, 40, 48].map((field) => count64(file, end, field));
  return { count: count!, bytes: bytes!, start: start! };
}

/** A uint64 that counts bytes or members of this file, so it cannot be larger than the file. */
function count64(file: InputFile, from: DataView, at: number): number {
  const value = from.getBigUint64(at, true);
  if (value > file.size) throw wrong(file, `a size or offset of ${value} in a file of ${file.size} bytes`);
  return Number(value);
}

function parseDirectory(file: InputFile, bytes: Uint8Array<ArrayBuffer>, count: number): Map<string, Entry> {
  const directory = view(bytes);
  const entries = new Map<string, Entry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_BYTES > bytes.length || directory.getUint32(at, true) !== CENTRAL) {
      throw wrong(file, `entry ${i} of ${count} of its directory is missing`);
    }
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) =>
      directory.getUint16(at + field, true),
    );
    const extra = at + CENTRAL_BYTES + nameBytes!;
    const next = extra + extraBytes! + commentBytes!;
    if (next > bytes.length) throw wrong(file, `entry ${i} of its directory is cut off`);
    const flags = directory.getUint16(at + 8, true);
    const encoding = flags & 0x800 ? 'utf-8' : 'latin1';
    const name = new TextDecoder(encoding).decode(bytes.subarray(at + CENTRAL_BYTES, extra));
    if (entries.has(name)) throw wrong(file, `it has two members ${JSON.stringify(name)}`);
    entries.set(name, {
      name,
      encrypted: (flags & 1) !== 0,
      method: directory.getUint16(at + 10, true),
      crc: directory.getUint32(at + 16, true),
      ...places(file, directory, at, extra, extra + extraBytes!),
    });
    at = next;
  }
  return entries;
}

/** Sizes and offset of an entry; those that do not fit 32 bits are in an extra field, in this order. */
function places(
  file: InputFile,
  directory: DataView,
  at: number,
  extra: number,
  end: number,
): Pick<Entry, 'bytes' | 'packedBytes' | 'header'> {
  const values = [24, 20, 42].map((field) => directory.getUint32(at + field, true));
  if (values.includes(IN_EXTRA)) {
    let field = extra;
    while (field + 4 <= end && directory.getUint16(field, true) !== EXTRA64) {
      field += 4 + directory.getUint16(field + 2, true);
    }
    let from = field + 4;
    for (const [i, value] of values.entries()) {
      if (value !== IN_EXTRA) continue;
      if (from + 8 > end) throw wrong(file, 'an entry of its directory lacks its ZIP64 sizes');
      // What a member unpacks to may be larger than the file.
      const large = directory.getBigUint64(from, true);
      if (large > Number.MAX_SAFE_INTEGER) throw wrong(file, `a member of ${large} bytes`);
      values[i] = Number(large);
      from += 8;
    }
  }
  const [bytes, packedBytes, header] = values;
  return { bytes: bytes!, packedBytes: packedBytes!, header: header! };
}

async function* unpack(
  file: InputFile,
  entry: Entry,
  start: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const packed = file.pieces(start, entry.packedBytes, READ_BYTES);
  if (entry.method === STORED) return yield* packed;
  const inflate = createInflateRaw({ chunkSize: READ_BYTES });
  // Hands errors on to `inflate`, from which the loop gets them, and closes both when the loop is left.
  pipeline(Readable.from(packed), inflate, () => {});
  try {
    for await (const chunk of inflate) yield chunk as Uint8Array<ArrayBuffer>;
  } catch (cause) {
    if (cause instanceof EliError) throw cause;
    throw wrong(file, `member ${entry.name} cannot be unpacked (${(cause as Error).message})`);
  }
}

/** The bytes of a member as they come, and at the end a check that they are all there and undamaged. */
async function* checked(
  chunks: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { name, bytes, crc }: Entry,
  file: InputFile,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let done = 0;
  let sum = ~0;
  for await (const chunk of chunks) {
    done += chunk.length;
    // At once: a small archive can unpack to terabytes.
    if (done > bytes) throw wrong(file, `member ${name} unpacks to more than the ${bytes} bytes it says`);
    sum = crc32(sum, chunk);
    yield chunk;
  }
  if (done < bytes) throw wrong(file, `member ${name} unpacks to ${done} bytes, it says ${bytes}`);
  if (~sum >>> 0 !== crc) throw wrong(file, `the checksum (CRC-32) of member ${name} is wrong`);
}

/** Bytes `start` … `start + length − 1` of a stream in pieces of one size. Reads to its end, where it is checked. */
async function* regroup(
  chunks: AsyncIterable<Uint8Array<ArrayBuffer>>,
  start: number,
  length: number,
  piece: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let skip = start;
  let left = length;
  let filled = 0;
  let group = new Uint8Array(Math.min(piece, left));
  for await (const chunk of chunks) {
    let at = Math.min(skip, chunk.length);
    skip -= at;
    while (at < chunk.length && left > 0) {
      const some = chunk.subarray(at, at + group.length - filled);
      group.set(some, filled);
      filled += some.length;
      at += some.length;
      if (filled < group.length) continue;
      left -= filled;
      filled = 0;
      const full = group;
      group = new Uint8Array(Math.min(piece, left));
      yield full;
    }
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** Goes on with a CRC-32 whose bits are inverted (start: ~0). `zlib.crc32` is missing in the first Node 20. */
function crc32(sum: number, bytes: Uint8Array): number {
  let value = sum;
  for (let i = 0; i < bytes.length; i++) value = (value >>> 8) ^ CRC_TABLE[(value ^ bytes[i]!) & 0xff]!;
  return value;
}
