import { EliError } from '../errors.ts';
import { formatError } from './files.ts';
import { type FloatDtype, isFloat } from './floats.ts';
import { type ByteSource, InputFile } from './input.ts';
import { readNpyLayout } from './npy.ts';
import { type NumberArray, rowsOf } from './number-array.ts';
import { readSafetensorsLayout } from './safetensors.ts';
import { openZip } from './zip.ts';

/** Latents [rows, dim] of a file of any size, read in batches. */
export interface LatentSource {
  /** For messages: the path, with the name of the member or tensor. */
  readonly name: string;
  readonly rows: number;
  readonly dim: number;
  /** Element type in the file; batches are float32. */
  readonly dtype: FloatDtype;
  /**
   * All rows in order, `rowsPerBatch` · dim numbers per batch; the last may be shorter. Can be called again.
   * @throws EliError `NON_FINITE` naming row and column of a NaN, an infinity or a float64 too large for float32;
   *   `FORMAT`, `FILE`.
   */
  batches(rowsPerBatch: number): AsyncGenerator<Float32Array<ArrayBuffer>>;
  /** Closes the file. */
  close(): Promise<void>;
}

/** With more, a batch of a single row could be too large for memory. */
const MAX_DIM = 1 << 20;
const IN_FILE = /^(.+\.(npz|safetensors)):(.+)$/is;

/**
 * Opens latents [n, d] of float16, float32 or float64 (safetensors: also bfloat16) written by any framework, in
 * any byte order, by rows or by columns:
 * `file.npy`, `file.npz:member`, `file.safetensors:tensor`. The name may be left out when there is only one.
 * @throws EliError `FILE` when it cannot be read; `FORMAT` for a damaged file, another format or dtype, or a
 *   shape that is not [n, d] with n, d ≥ 1.
 */
export async function openLatents(path: string): Promise<LatentSource> {
  const [, container, , key] = IN_FILE.exec(path) ?? [];
  const file = await InputFile.open(container ?? path);
  try {
    const array = await findArray(file, key);
    const { source, dtype, shape } = array;
    const [rows, dim] = shape as [number, number];
    if (shape.length !== 2 || rows === 0 || dim === 0) {
      throw formatError(
        `${source.name} has the shape [${shape.slice(0, 8).join(', ')}], expected [n, d] with n and d from 1`,
        'write latents as an array of two dimensions, one row per sample',
      );
    }
    if (dim > MAX_DIM) {
      throw formatError(
        `${source.name} has rows of ${dim} numbers, at most ${MAX_DIM} are read`,
        'write latents as [n, d], one row per sample',
      );
    }
    return {
      name: source.name,
      rows,
      dim,
      dtype,
      async *batches(rowsPerBatch) {
        let row = 0;
        for await (const batch of rowsOf(array, rowsPerBatch)) {
          checkFinite(batch, dim, row, source.name);
          row += batch.length / dim;
          yield batch;
        }
      },
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function findArray(file: InputFile, key: string | undefined): Promise<NumberArray> {
  const kind = /\.(npy|npz|safetensors)$/i.exec(file.name)?.[1]?.toLowerCase();
  if (kind === 'npy') return readNpyLayout(file);
  if (kind === 'npz') {
    const members = await openZip(file);
    const arrays = [...members.keys()].filter((name) => name.endsWith('.npy'));
    const wanted = key === undefined || key.endsWith('.npy') ? key : `${key}.npy`;
    return readNpyLayout(members.get(choose(file.name, 'array', arrays, wanted))!());
  }
  if (kind === 'safetensors') {
    const layout = await readSafetensorsLayout(file);
    const chosen = choose(file.name, 'tensor', Object.keys(layout), key);
    const { dtype, shape, start } = layout[chosen]!;
    const name = `${file.name}:${chosen}`;
    const source: ByteSource = { name, size: file.size, pieces: file.pieces.bind(file) };
    if (!isFloat(dtype))
      throw formatError(`${name} is ${dtype}, expected F16, BF16, F32 or F64`, 'write it as float32');
    return { source, dtype, shape, start };
  }
  throw formatError(
    `${file.name} is not named .npy, .npz or .safetensors`,
    'write latents with numpy.save, numpy.savez or safetensors',
  );
}

/** The array asked for, or the only one. */
function choose(file: string, what: string, names: readonly string[], key: string | undefined): string {
  const shown = names.slice(0, 8).map((n) => n.slice(0, 80));
  if (names.length > 8) shown.push('…');
  const known = `it has ${names.length}${names.length === 0 ? '' : `: ${shown.join(', ')}`}`;
  if (key === undefined) {
    if (names.length === 1) return names[0]!;
    throw formatError(
      `${file} does not say which ${what} is meant; ${known}`,
      `name it after a colon, as in ${file}:${names[0] ?? 'name'}`,
    );
  }
  if (!names.includes(key)) throw new EliError('FORMAT', `${file} has no ${what} ${key}; ${known}`);
  return key;
}

/** @throws EliError `NON_FINITE` naming row and column, both from 0; `row` is that of the batch's first row. */
export function checkFinite(
  batch: Float32Array,
  dim: number,
  row: number,
  name: string,
  hint = 'leave such rows out or repair them first',
): void {
  for (let i = 0; i < batch.length; i++) {
    if (Number.isFinite(batch[i])) continue;
    throw new EliError(
      'NON_FINITE',
      `${name}: row ${row + Math.floor(i / dim)}, column ${i % dim} (both from 0) is ${batch[i]}, expected a finite float32`,
      { hint },
    );
  }
}
