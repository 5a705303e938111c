import { isRecord } from '../errors.ts';
import { writeFileAtomic } from '../files/atomic.ts';

/**
 * Readable JSON with the same bytes for the same content: keys sorted, indented by two spaces, an array of plain values
 * on one line, a newline at the end. Typed arrays are written as arrays; NaN and infinities as strings, see `nonFinite`.
 */
export function stableJson(value: unknown): string {
  return `${format(JSON.parse(JSON.stringify(value, sorted)), '')}\n`;
}

/** Writes `stableJson(value)` to `path`, all or nothing. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, stableJson(value));
}

/** Replacer of `JSON.stringify`, which would write NaN and infinities as null, as if they were missing. */
export function nonFinite(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

function sorted(key: string, value: unknown): unknown {
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>);
  if (!isRecord(value)) return nonFinite(key, value);
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function format(value: unknown, indent: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.every((item) => typeof item !== 'object' || item === null)) {
      return `[${value.map((item) => format(item, inner)).join(', ')}]`;
    }
    return `[\n${value.map((item) => inner + format(item, inner)).join(',\n')}\n${indent}]`;
  }
  const members = Object.entries(value).map(
    ([key, member]) => `${inner}${JSON.stringify(key)}: ${format(member, inner)}`,
  );
  return members.length === 0 ? '{}' : `{\n${members.join(',\n')}\n${indent}}`;
}
