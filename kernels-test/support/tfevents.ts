// Reads TensorBoard's event files, strictly and bit by bit from the specifications, with nothing of what writes them:
// CRC-32C (RFC 3720), TFRecord frames (TensorFlow's record_writer.h), protocol buffers (protobuf.dev, "Encoding"),
// and the fields of event.proto and summary.proto.

export interface ReadImage {
  readonly height: number;
  readonly width: number;
  readonly encoded: Buffer;
}

/** One record: `values` by tag, `undefined` in a record without a summary. */
export interface ReadEvent {
  readonly wallTime: number;
  readonly step: number;
  readonly version?: string;
  readonly values?: Readonly<Record<string, number | ReadImage>>;
}

/** CRC-32C of bytes. */
export function crc32c(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ ((sum & 1) === 1 ? 0x82f63b78 : 0);
  }
  return ~sum >>> 0;
}

/** The events of a file. @throws for a record that is torn or damaged, and for a field that should not be there */
export function readEvents(bytes: Buffer): ReadEvent[] {
  const events: ReadEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 12 + Number(bytes.readBigUInt64LE(at));
    if (end + 4 > bytes.length) throw new Error(`record ${events.length} is torn`);
    checkSum(bytes.subarray(at, at + 8), bytes.readUInt32LE(at + 8));
    checkSum(bytes.subarray(at + 12, end), bytes.readUInt32LE(end));
    events.push(eventOf(bytes.subarray(at + 12, end)));
    at = end + 4;
  }
  return events;
}

function checkSum(bytes: Uint8Array, masked: number): void {
  const rotated = (masked - 0xa282ead8) >>> 0;
  const sum = ((rotated >>> 17) | (rotated << 15)) >>> 0;
  if (sum !== crc32c(bytes)) throw new Error(`the checksum is ${sum}, should be ${crc32c(bytes)}`);
}

/** Numbers of the fields, with the wire types that they have. */
const EVENT = { '1:1': 'wallTime', '2:0': 'step', '3:2': 'version', '5:2': 'summary' } as const;
const VALUE = { '1:2': 'tag', '2:5': 'number', '4:2': 'image' } as const;
const IMAGE = { '1:0': 'height', '2:0': 'width', '4:2': 'encoded' } as const;

function eventOf(bytes: Buffer): ReadEvent {
  const { wallTime, step, version, summary } = message(bytes, EVENT);
  const values = summary?.map((part) =>
    list(message(part as Buffer, { '1:2': 'value' }).value).map((value) => contentOf(value as Buffer)),
  );
  return {
    wallTime: (wallTime![0] as Buffer).readDoubleLE(),
    step: Number(step?.[0] ?? 0),
    ...(version && { version: version.toString() }),
    ...(values && { values: Object.fromEntries(values.flat()) }),
  };
}

function contentOf(bytes: Buffer): [string, number | ReadImage] {
  const { tag, number, image } = message(bytes, VALUE);
  if (number !== undefined) return [tag!.toString(), (number[0] as Buffer).readFloatLE()];
  const { height, width, encoded } = message(image![0] as Buffer, IMAGE);
  return [
    tag!.toString(),
    { height: Number(height![0]), width: Number(width![0]), encoded: encoded![0] as Buffer },
  ];
}

type Found = (bigint | Buffer)[];
const list = (found: Found | undefined): Found => found ?? [];

/** The fields of a message by name, each with all its values. */
function message<Name extends string>(
  bytes: Buffer,
  names: Readonly<Record<string, Name>>,
): Partial<Record<Name, Found>> {
  const found: Partial<Record<Name, Found>> = {};
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('a field is longer than its message');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const kind = `${key >> 3}:${key & 7}`;
    const name = names[kind];
    if (name === undefined) throw new Error(`there is no field ${kind}`);
    const value = { 0: varint, 1: () => take(8), 2: () => take(Number(varint())), 5: () => take(4) }[
      key & 7
    ]!();
    found[name] = [...list(found[name]), value];
  }
  return found;
}
