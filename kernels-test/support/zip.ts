import { crc32, deflateRawSync } from 'node:zlib';

export interface ZipOptions {
  readonly deflated?: boolean;
  readonly zip64?: boolean;
  /** Also in the end record. */
  readonly end64?: boolean;
  readonly comment?: string;
  /** What the directory says, where it is not the truth. */
  readonly says?: {
    flags?: number;
    method?: number;
    crc?: number;
    bytes?: number;
    packed?: number;
    offset?: number;
  };
}

/** An archive of members of one content, written by hand after PKWARE's APPNOTE. */
export function zip(names: readonly string[], content: Uint8Array, options: ZipOptions = {}): Buffer {
  const { deflated = false, zip64 = false, end64 = false, comment = '', says = {} } = options;
  const packed = deflated ? deflateRawSync(content) : Buffer.from(content);
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const name of names) {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(deflated ? 8 : 0, 8);
    local.writeUInt16LE(name.length, 26);
    local.writeUInt16LE(3, 28);
    parts.push(local, Buffer.from(name), Buffer.from([9, 9, 9]), packed);
    const sizes = [says.bytes ?? content.length, says.packed ?? packed.length, says.offset ?? at];
    const extra = Buffer.alloc(zip64 ? 5 + 4 + 24 : 0);
    if (zip64) {
      // Another field comes first.
      extra.writeUInt16LE(0x7777, 0);
      extra.writeUInt16LE(1, 2);
      extra.writeUInt16LE(1, 5);
      extra.writeUInt16LE(24, 7);
      sizes.forEach((size, i) => {
        extra.writeBigUInt64LE(BigInt(size), 9 + 8 * i);
      });
    }
    const head = Buffer.alloc(46);
    head.writeUInt32LE(0x02014b50, 0);
    head.writeUInt16LE(says.flags ?? 0, 8);
    head.writeUInt16LE(says.method ?? (deflated ? 8 : 0), 10);
    head.writeUInt32LE(says.crc ?? crc32(content), 16);
    head.writeUInt32LE(zip64 ? 0xffffffff : sizes[1]!, 20);
    head.writeUInt32LE(zip64 ? 0xffffffff : sizes[0]!, 24);
    head.writeUInt16LE(name.length, 28);
    head.writeUInt16LE(extra.length, 30);
    head.writeUInt32LE(zip64 ? 0xffffffff : sizes[2]!, 42);
    directory.push(head, Buffer.from(name), extra);
    at += local.length + name.length + 3 + packed.length;
  }
  const entries = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(end64 ? 0xffff : names.length, 10);
  end.writeUInt32LE(end64 ? 0xffffffff : entries.length, 12);
  end.writeUInt32LE(end64 ? 0xffffffff : at, 16);
  end.writeUInt16LE(comment.length, 20);
  const large = Buffer.alloc(end64 ? 56 + 20 : 0);
  if (end64) {
    large.writeUInt32LE(0x06064b50, 0);
    large.writeBigUInt64LE(44n, 4);
    large.writeBigUInt64LE(BigInt(names.length), 24);
    large.writeBigUInt64LE(BigInt(names.length), 32);
    large.writeBigUInt64LE(BigInt(entries.length), 40);
    large.writeBigUInt64LE(BigInt(at), 48);
    large.writeUInt32LE(0x07064b50, 56);
    large.writeBigUInt64LE(BigInt(at + entries.length), 64);
    large.writeUInt32LE(1, 72);
  }
  return Buffer.concat([...parts, entries, large, end, Buffer.from(comment)]);
}
