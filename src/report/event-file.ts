import crc32c from 'crc-32/crc32c.js';
import { AppendFile } from '../files/append.ts';

/** A picture in its own format, PNG or GIF, and its size in pixels. */
export interface SummaryImage {
  readonly width: number;
  readonly height: number;
  readonly encoded: Uint8Array;
}

/** A number or a picture with its name on the board: what stands before a slash there is a group. */
export interface SummaryValue {
  readonly tag: string;
  readonly value: number | SummaryImage;
}

/** The first record of every file. */
const VERSION = 'brain.Event:2';
/** Bytes of a record before its data: their length (u64) and the checksum of these eight bytes. */
const HEAD = 12;
/** Bytes of a checksum. */
const SUM = 4;

/**
 * An event file as TensorBoard reads it: TFRecord frames (tensorflow/core/lib/io/record_writer.h) around protocol buffers
 * `Event` (tensorflow/core/util/event.proto) with a `Summary` (tensorflow/core/framework/summary.proto). The first record
 * names the version and is not counted.
 */
export class EventFile {
  readonly #file: AppendFile;
  #length = -1;

  /**
   * Opens the file, or makes it. Everything after its first `length` records is cut off, as is everything from the first
   * record that is torn or damaged.
   *
   * @throws EliError FILE
   */
  constructor(path: string, length: number) {
    this.#file = new AppendFile(path, (content) => {
      let bytes = 0;
      for (let end = recordEnd(content, 0); end > bytes && this.#length < length; this.#length++) {
        bytes = end;
        end = recordEnd(content, end);
      }
      return bytes;
    });
    if (this.#length < 0) this.#append(bytesField(3, Buffer.from(VERSION)));
  }

  /** Number of records after the first. */
  get length(): number {
    return this.#length;
  }

  /** Appends one record; its time is now. @param step a whole number, 0 or more @throws EliError FILE */
  write(step: number, values: readonly SummaryValue[]): void {
    const summary = values.map(({ tag, value }) => {
      const content = typeof value === 'number' ? floatField(2, value) : bytesField(4, imageOf(value));
      return bytesField(1, Buffer.concat([bytesField(1, Buffer.from(tag)), content]));
    });
    this.#append(Buffer.concat([wholeField(2, step), bytesField(5, Buffer.concat(summary))]));
  }

  /** Flushes and closes the file. @throws EliError FILE */
  close(): void {
    this.#file.close();
  }

  #append(event: Buffer): void {
    const data = Buffer.concat([doubleField(1, Date.now() / 1000), event]);
    const record = Buffer.alloc(HEAD + data.length + SUM);
    record.writeBigUInt64LE(BigInt(data.length));
    record.writeUInt32LE(maskedSum(record.subarray(0, HEAD - SUM)), HEAD - SUM);
    record.set(data, HEAD);
    record.writeUInt32LE(maskedSum(data), HEAD + data.length);
    this.#file.append(record);
    this.#length++;
  }
}

/** Where the record that begins at `start` ends; `start` itself if it is torn or damaged. */
function recordEnd(content: Buffer, start: number): number {
  const [data, sum] = [start + HEAD, start + HEAD - SUM];
  if (data > content.length || maskedSum(content.subarray(start, sum)) !== content.readUInt32LE(sum))
    return start;
  const end = data + Number(content.readBigUInt64LE(start));
  const whole = end + SUM <= content.length;
  return whole && maskedSum(content.subarray(data, end)) === content.readUInt32LE(end) ? end + SUM : start;
}

/** CRC-32C, rotated and shifted so that a checksum of data that hold checksums is no special case. */
function maskedSum(bytes: Uint8Array): number {
  const sum = crc32c.buf(bytes) >>> 0;
  return (((sum >>> 15) | (sum << 17)) + 0xa282ead8) >>> 0;
}

function imageOf({ width, height, encoded }: SummaryImage): Buffer {
  return Buffer.concat([wholeField(1, height), wholeField(2, width), bytesField(4, encoded)]);
}

/** The fields of a protocol buffer message: their number and wire type, then the value. */
function field(number: number, wireType: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([(number << 3) | wireType]), value]);
}

function wholeField(number: number, value: number): Buffer {
  return field(number, 0, varint(value));
}

function doubleField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeDoubleLE(value);
  return field(number, 1, bytes);
}

function bytesField(number: number, value: Uint8Array): Buffer {
  return field(number, 2, Buffer.concat([varint(value.length), value]));
}

function floatField(number: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return field(number, 5, bytes);
}

/** A whole number in groups of seven bits, the lowest first; all but the last have the top bit set. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  // Without bit operations, which end at 32 bits.
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}
