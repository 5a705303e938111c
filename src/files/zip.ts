import { Readable } from 'node:stream';
import type { Entry, RandomAccessReader } from 'yauzl';
import { EliError } from '../errors.ts';
import { notInstalled } from '../optional.ts';
import { formatError, notValid } from './files.ts';
import type { ByteSource, InputFile } from './input.ts';

/** Far more than the directory of an archive of arrays needs. */
const MAX_DIRECTORY_BYTES = 16 << 20;
/** A directory entry without its name and extra fields. */
const ENTRY_BYTES = 46;
const READ_BYTES = 256 << 10;

/** Lets yauzl read an open file; `InputFile` checks each range before memory is allocated. */
function readerOf(file: InputFile, Reader: typeof RandomAccessReader): RandomAccessReader {
  let block: Uint8Array = new Uint8Array(0);
  let blockStart = 0;

  /** Reads ahead, because yauzl reads the directory in pieces of some fifty bytes. */
  async function read(position: number, length: number): Promise<Uint8Array> {
    const from = position - blockStart;
    if (from >= 0 && from + length <= block.length) return block.subarray(from, from + length);
    const ahead = Math.min(READ_BYTES, file.size - position);
    block = await file.read(position, Math.max(length, ahead));
    blockStart = position;
    return block.subarray(0, length);
  }

  class FileReader extends Reader {
    override read(...[to, offset, length, position, done]: Parameters<RandomAccessReader['read']>): void {
      const copy = (bytes: Uint8Array): void => {
        to.set(bytes, offset);
        done(null);
      };
      read(position, length).then(copy, done);
    }

    override _readStreamForRange(start: number, end: number): Readable {
      return Readable.from(file.pieces(start, end - start, READ_BYTES));
    }
  }
  return new FileReader();
}

/** Packages that are loaded when the first archive is opened. */
async function loadPackages() {
  const missing = notInstalled('.npz files');
  const [yauzl, { default: crc32 }] = await Promise.all([
    import('yauzl').catch(missing),
    import('crc-32').catch(missing),
  ]);
  return { yauzl, crc32 };
}
type Crc32 = Awaited<ReturnType<typeof loadPackages>>['crc32'];

/**
 * The members of a ZIP archive by name, also ZIP64, stored or deflated. Each is read as a stream of bounded memory
 * whose length and CRC-32 are checked.
 * @throws EliError `FORMAT` when it is not an archive, is damaged or has two members of one name; `NOT_INSTALLED`
 */
export async function openZip(file: InputFile): Promise<ReadonlyMap<string, () => ByteSource>> {
  const members = new Map<string, () => ByteSource>();
  const { yauzl, crc32 } = await loadPackages();
  try {
    // File names are decoded here because yauzl refuses those that would be unsafe to unpack; nothing is unpacked.
    const options = { autoClose: false, decodeStrings: false };
    const archive = await yauzl.fromRandomAccessReaderPromise(
      readerOf(file, yauzl.RandomAccessReader),
      file.size,
      options,
    );
    let bytes = 0;
    for await (const entry of archive.eachEntry()) {
      bytes += ENTRY_BYTES + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength;
      if (bytes > MAX_DIRECTORY_BYTES) throw new Error('its directory is larger than 16 MiB');
      const isUtf8 = (entry.generalPurposeBitFlag & 0x800) !== 0;
      const name = entry.fileNameRaw.toString(isUtf8 ? 'utf8' : 'latin1');
      if (members.has(name)) throw new Error(`it has two members ${JSON.stringify(name)}`);
      const open = () => archive.openReadStreamPromise(entry);
      members.set(name, () => memberOf(file, name, entry, open, crc32));
    }
  } catch (cause) {
    throw asInvalid(file, '', cause);
  }
  return members;
}

/** @throws EliError `FORMAT` when it is encrypted or packed by another method */
function memberOf(
  file: InputFile,
  name: string,
  entry: Entry,
  open: () => Promise<Readable>,
  crc32: Crc32,
): ByteSource {
  const label = `${file.name}:${name}`;
  if (entry.isEncrypted()) throw formatError(`${label} is encrypted`, 'write the archive without a password');
  if (!entry.canDecodeFileData()) {
    throw formatError(
      `${label} is packed by method ${entry.compressionMethod}, only stored (0) and deflated (8) members are read`,
      'write it with numpy.savez or numpy.savez_compressed',
    );
  }
  async function* content(): AsyncGenerator<Uint8Array> {
    let sum = 0;
    try {
      for await (const chunk of await open()) {
        sum = crc32.buf(chunk, sum);
        yield chunk;
      }
      if (sum >>> 0 !== entry.crc32) throw new Error('its checksum (CRC-32) is wrong');
    } catch (cause) {
      throw asInvalid(file, `member ${name}: `, cause);
    }
  }
  return {
    name: label,
    size: entry.uncompressedSize,
    sequential: true,
    pieces: (start, length, piece) => regroup(content(), start, length, piece),
  };
}

function asInvalid(file: InputFile, where: string, cause: unknown): EliError {
  if (cause instanceof EliError) return cause;
  return notValid(file.name, 'ZIP archive', `${where}${(cause as Error).message}`);
}

/** Bytes `start` … `start + length − 1` of a stream in pieces of one size. Reads on to its end, where it is checked. */
async function* regroup(
  chunks: AsyncIterable<Uint8Array>,
  start: number,
  length: number,
  piece: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  let skip = start;
  let left = length;
  let filled = 0;
  let group = new Uint8Array(Math.min(piece, left));
  for await (const chunk of chunks) {
    let rest = chunk.subarray(skip);
    skip -= chunk.length - rest.length;
    while (rest.length > 0 && left > 0) {
      const some = rest.subarray(0, group.length - filled);
      rest = rest.subarray(some.length);
      group.set(some, filled);
      filled += some.length;
      if (filled < group.length) continue;
      yield group;
      left -= filled;
      filled = 0;
      group = new Uint8Array(Math.min(piece, left));
    }
  }
}
