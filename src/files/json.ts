import { brief, EliError, isRecord } from '../errors.ts';

/** A text parsed as a JSON object; `undefined` if it is anything else. */
export function jsonRecord(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const QUOTE = 34;
const COLON = 58;
const BACKSLASH = 92;
const OPEN = 123;
const CLOSE = 125;

/**
 * A key that occurs twice in one object of a JSON text, if any. `JSON.parse` silently keeps the last.
 * @param text valid JSON (parse it first).
 */
export function duplicateKey(text: string): string | undefined {
  /** The keys seen in each open object. */
  const objects: Set<string>[] = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN) objects.push(new Set());
    else if (code === CLOSE) objects.pop();
    else if (code === QUOTE) {
      const start = at;
      for (at++; text.charCodeAt(at) !== QUOTE; at++) if (text.charCodeAt(at) === BACKSLASH) at++;
      if (nextCode(text, at + 1) !== COLON) continue;
      // Parsed, because a name can be spelt in several ways: "a" is "\u0061".
      const key = JSON.parse(text.slice(start, at + 1)) as string;
      const keys = objects.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return undefined;
}

/** The code of the first character from `at` on that is not white space. */
function nextCode(text: string, at: number): number {
  while (' \t\r\n'.includes(text.charAt(at)) && at < text.length) at++;
  return text.charCodeAt(at);
}

/** @throws EliError `FORMAT` unless `value` is a whole number from 0 to `high`. */
export function wholeNumber(name: string, value: unknown, high = Number.MAX_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= high)
    return value as number;
  throw new EliError('FORMAT', `${name} is ${brief(value)}, must be a whole number from 0 to ${high}`);
}
