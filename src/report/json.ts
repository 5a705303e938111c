import { writeFileAtomic } from '../files/atomic.ts';

/**
 * Readable JSON with the same bytes for the same content: keys sorted, two spaces, a line for an array of plain
 * values, a newline at the end. Typed arrays are written as arrays; what JSON has no number for (NaN, infinities) is
 * written as a string, so that it is not mistaken for a missing value.
 */
export function stableJson(value: unknown): string {
  return `${format(normalize(value), '')}\n`;
}

/** Writes `stableJson(value)` to `path`, all or nothing. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeFileAtomic(path, stableJson(value));
}

/** What `JSON.stringify` would see, but with keys sorted and the rules of `stableJson`. */
function normalize(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (typeof value !== 'object' || value === null) return value;
  if ('toJSON' in value && typeof value.toJSON === 'function') return normalize(value.toJSON());
  if (Array.isArray(value)) return value.map(normalize);
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>, normalize);
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, member]) => member !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, member]) => [key, normalize(member)]),
  );
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
