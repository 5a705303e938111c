import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openLatents } from '../../src/files/latents.ts';
import { npyHeader } from '../../src/files/npy.ts';

/** float16, float32 and float64 of [[1.5, −2.25, 0.1], [65504, 6e-8, −0]] as NumPy 1.24 wrote them, versions 1 to 3. */
export const NUMPY_NPY = {
  f2v1: 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGYyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAPoDAZi7/ewEAAIA=',
  f4v1: 'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAMA/AAAQwM3MzD0A4H9HWdmAMwAAAIA=',
  f4v2: 'k05VTVBZAgB0AAAAeydkZXNjcic6ICc8ZjQnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAMA/AAAQwM3MzD0A4H9HWdmAMwAAAIA=',
  f8v3: 'k05VTVBZAwB0AAAAeydkZXNjcic6ICc8ZjgnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAAD4PwAAAAAAAALAmpmZmZmZuT8AAAAAAPzvQCtppCkrG3A+AAAAAAAAAIA=',
} as const;

/** The same numbers as NumPy 2.4 wrote them in Fortran order, big-endian, and both. */
export const NUMPY_ORDERS = {
  f4Fortran:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAMA/AOB/RwAAEMBZ2YAzzczMPQAAAIA=',
  f4Big:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPmY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAo/wAAAwBAAAD3MzM1Hf+AAM4DZWYAAAAA=',
  f8BigFortran:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPmY4JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAo/+AAAAAAAAEDv/AAAAAAAwAIAAAAAAAA+cBsrIAAAAD+5mZmgAAAAgAAAAAAAAAA=',
  f2BigFortran:
    'k05VTVBZAQB2AHsnZGVzY3InOiAnPmYyJywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAo+AHv/wIAAAS5mgAA=',
  npzFortran:
    'UEsDBC0AAAAAAAAAIQDRvTvu//////////8FABQAei5ucHkBABAAmAAAAAAAAACYAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmNCcsICdmb3J0cmFuX29yZGVyJzogVHJ1ZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAADAPwDgf0cAABDAWdmAM83MzD0AAACAUEsBAi0DLQAAAAAAAAAhANG9O+6YAAAAmAAAAAUAAAAAAAAAAAAAAIABAAAAAHoubnB5UEsFBgAAAAABAAEAMwAAAM8AAAAAAA==',
  npzBigFortranDeflated:
    'UEsDBC0AAAAIAAAAIQCxTV3w//////////8FABQAei5ucHkBABAAmAAAAAAAAABeAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6XZqKuo6Cell9UUpSYF59flJIKEg8pKk0FChdnJBakArkaRjoKxpo6CrUK5AMu+wMMDO71DxgOCDAwGDfcjLQ9c+ZsAwMDAwBQSwECLQMtAAAACAAAACEAsU1d8F4AAACYAAAABQAAAAAAAAAAAAAAgAEAAAAAei5ucHlQSwUGAAAAAAEAAQAzAAAAlQAAAAAA',
} as const;

/** The same numbers in archives: `z` is float32, `h` float16; by `savez` and `savez_compressed`. */
export const NUMPY_NPZ = {
  stored:
    'UEsDBBQAAAAAAAAAIQDdDMAtmAAAAJgAAAAFABQAei5ucHkBABAAmAAAAAAAAACYAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmNCcsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCAzKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAADAPwAAEMDNzMw9AOB/R1nZgDMAAACAUEsDBBQAAAAAAAAAIQCi/mHijAAAAIwAAAAFABQAaC5ucHkBABAAjAAAAAAAAACMAAAAAAAAAJNOVU1QWQEAdgB7J2Rlc2NyJzogJzxmMicsICdmb3J0cmFuX29yZGVyJzogRmFsc2UsICdzaGFwZSc6ICgyLCAzKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAKAD6AwGYu/3sBAACAUEsBAhQDFAAAAAAAAAAhAN0MwC2YAAAAmAAAAAUAAAAAAAAAAAAAAIABAAAAAHoubnB5UEsBAhQDFAAAAAAAAAAhAKL+YeKMAAAAjAAAAAUAAAAAAAAAAAAAAIABzwAAAGgubnB5UEsFBgAAAAACAAIAZgAAAJIBAAAAAA==',
  deflated:
    'UEsDBBQAAAAIAAAAIQDdDMAtXwAAAJgAAAAFABQAei5ucHkBABAAmAAAAAAAAABfAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6CsaaOgq1CmQDLgaGA/YMDAIHzp45Y8vwoN498maDMQMDQwMAUEsDBBQAAAAIAAAAIQCi/mHiUgAAAIwAAAAFABQAaC5ucHkBABAAjAAAAAAAAABSAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqSuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6CsaaOgq1CmQDLga7hgNpev+rGRkYGgBQSwECFAMUAAAACAAAACEA3QzALV8AAACYAAAABQAAAAAAAAAAAAAAgAEAAAAAei5ucHlQSwECFAMUAAAACAAAACEAov5h4lIAAACMAAAABQAAAAAAAAAAAAAAgAGWAAAAaC5ucHlQSwUGAAAAAAIAAgBmAAAAHwEAAAAA',
} as const;

/** What they hold, as float32. */
export const NUMPY_FLOATS = {
  f2: [1.5, -2.25, 0.0999755859375, 65504, 2 ** -24, -0],
  f4: [1.5, -2.25, 0.1, 65504, 6e-8, -0].map(Math.fround),
} as const;

export const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(Buffer.from(text, 'base64'));

/** A .npy file of any header text and data. */
export function npyBytes(
  dict: string,
  data: ArrayBufferView = new Float32Array(6),
  { version = [1, 0], magic = '\x93NUMPY', length = dict.length } = {},
): Uint8Array<ArrayBuffer> {
  const size = Buffer.alloc(version[0] === 1 ? 2 : 4);
  if (version[0] === 1) size.writeUInt16LE(length);
  else size.writeUInt32LE(length);
  return Uint8Array.from(
    Buffer.concat([
      Buffer.from(magic, 'latin1'),
      Buffer.from(version),
      size,
      Buffer.from(dict, 'latin1'),
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    ]),
  );
}

/** All numbers of a file, read in batches of so many rows. */
export async function readAll(path: string, rowsPerBatch = 1000): Promise<Float32Array> {
  const source = await openLatents(path);
  const all = new Float32Array(source.rows * source.dim);
  let done = 0;
  try {
    for await (const batch of source.batches(rowsPerBatch)) {
      all.set(batch, done);
      done += batch.length;
    }
  } finally {
    await source.close();
  }
  if (done !== all.length) throw new Error(`${path}: ${done} numbers, expected ${all.length}`);
  return all;
}

/** Writes float32 rows to a .npy file in one piece and returns its path. */
export function saveNpy(folder: string, name: string, data: Float32Array, dim: number): string {
  const path = join(folder, name);
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  writeFileSync(path, Buffer.concat([npyHeader([data.length / dim, dim]), bytes]));
  return path;
}
