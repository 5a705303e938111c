import { brief, EliError, type ErrorCode } from '../errors.ts';
import { readSafetensors, type Safetensors } from './safetensors.ts';

/** Failures not caused by the file. */
const OF_DEVICE: ReadonlySet<ErrorCode> = new Set(['DISPOSED', 'DEVICE_LOST', 'OUT_OF_MEMORY']);

/**
 * Reads a safetensors file whose metadata names its `format` with the reader of that format.
 * @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong: it has another format, or its reader fails
 */
export async function readFormat<T>(
  path: string,
  readers: Readonly<Record<string, (file: Safetensors) => T>>,
  options: { readonly hint?: string } = {},
): Promise<T> {
  const file = await readSafetensors(path);
  const { format } = file.metadata;
  if (format === undefined || !Object.hasOwn(readers, format)) {
    const known = Object.keys(readers).map((name) => `"${name}"`);
    throw new EliError(
      'FORMAT',
      `${path} cannot be used here: the format in its metadata is ${brief(format)}, expected ${known.join(' or ')}`,
    );
  }
  try {
    return readers[format]!(file);
  } catch (cause) {
    if (cause instanceof EliError && OF_DEVICE.has(cause.code)) throw cause;
    const [other] = Object.entries(file.unread);
    const unread = other && `; its tensor ${brief(other[0])} is of type ${other[1]}, which is not read here`;
    const message = `${path} is not a complete ${format}: ${(cause as Error).message}${unread ?? ''}`;
    throw new EliError('FORMAT', message, { ...options, cause });
  }
}
