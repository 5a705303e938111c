/**
 * Every error that this package raises on purpose is an `EliError`: `code` is stable and meant for programs, `message`
 * says what is wrong and where, `hint` what to do about it.
 */
export type ErrorCode =
  | 'NO_ADAPTER'
  | 'DEVICE_LOST'
  | 'OUT_OF_MEMORY'
  | 'VALIDATION'
  | 'WGSL'
  | 'SHAPE'
  | 'DTYPE'
  | 'INDEX'
  | 'ARGUMENT'
  | 'DISPOSED'
  | 'WRONG_ENGINE'
  | 'NOT_DIFFERENTIABLE'
  | 'NON_FINITE'
  | 'ABORTED'
  | 'FILE'
  | 'FORMAT'
  | 'CONFIG'
  | 'RUN_FOLDER'
  | 'NOT_INSTALLED';

/** The error of this package; see `ErrorCode`. */
export class EliError extends Error {
  override readonly name: string = 'EliError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    const text = options.hint === undefined ? message : `${message}\n  → ${options.hint}`;
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/** @throws EliError `ARGUMENT` when `value` is a promise: reports a forgotten `await` where it matters. */
export function refusePromise(what: string, value: unknown): void {
  if (typeof (value as Partial<Promise<unknown>> | null | undefined)?.then === 'function') {
    throw new EliError('ARGUMENT', `${what} is a promise`, { hint: 'is an `await` missing?' });
  }
}

/** @throws EliError `ARGUMENT` unless `engine` has the methods of one. */
export function checkEngine(engine: { allocate: unknown }): void {
  refusePromise('the engine', engine);
  if (typeof (engine as typeof engine | undefined)?.allocate === 'function') return;
  throw new EliError('ARGUMENT', `the engine is ${nameOf(engine)}`, {
    hint: 'await Engine.create() makes one; it comes first',
  });
}

/** @throws EliError `ARGUMENT` unless the options of `what` are an object. */
export function checkOptions(what: string, options: unknown, hint: string): void {
  if (isRecord(options)) return;
  throw new EliError('ARGUMENT', `${what}: its options are ${nameOf(options)}`, { hint });
}

/** What a number must be; `words` follow "must be". */
export interface NumberRule {
  readonly accepts: (value: number) => boolean;
  readonly words: string;
}

/** Finite in f32, in which the device computes. */
const isFinite32 = (value: number): boolean => Number.isFinite(Math.fround(value));

export const FINITE: NumberRule = { accepts: isFinite32, words: 'finite' };
export const POSITIVE: NumberRule = { accepts: (v) => v > 0 && isFinite32(v), words: 'finite and above 0' };
export const NOT_NEGATIVE: NumberRule = {
  accepts: (v) => v >= 0 && isFinite32(v),
  words: 'finite and not below 0',
};
/** A share of a whole, or a probability. */
export const SHARE: NumberRule = { accepts: (v) => v >= 0 && v <= 1, words: 'from 0 to 1' };
export const SHARE_BELOW_1: NumberRule = { accepts: (v) => v >= 0 && v < 1, words: 'from 0 to below 1' };

/** A whole number from `low` to `high`. */
export function wholeFrom(low: number, high = Number.POSITIVE_INFINITY): NumberRule {
  const range = high === Number.POSITIVE_INFINITY ? low : `${low} to ${high}`;
  const accepts = (v: number): boolean => Number.isInteger(v) && v >= low && v <= high;
  return { accepts, words: `a whole number from ${range}` };
}

/** @throws EliError `ARGUMENT` naming the value and what it must be. */
export function checkNumber(name: string, value: number, { accepts, words }: NumberRule): void {
  if (!accepts(value)) throw new EliError('ARGUMENT', `${name} is ${value}, must be ${words}`);
}

/** @throws EliError `ARGUMENT` unless the value is a whole number from `low` to `high`. */
export function checkWhole(name: string, value: number, low: number, high?: number): void {
  checkNumber(name, value, wholeFrom(low, high));
}

/** A JSON object: neither null nor an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value as text for a message, truncated if it is long. Unlike `String`, it takes any value that JSON can hold. */
export function brief(value: unknown): string {
  // Including NaN, which JSON does not have.
  if (typeof value === 'number') return String(value);
  let text: string;
  try {
    text = JSON.stringify(value) ?? 'missing';
  } catch {
    // Nested too deeply for the stack, or with a BigInt.
    text = Array.isArray(value) ? 'a list' : 'an object';
  }
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** A wrong value for a message: its class, or itself if it is short. */
export function nameOf(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint') return `the BigInt ${value}`;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return brief(value);
  const name = (value.constructor as { name?: string } | undefined)?.name ?? 'Object';
  return name === 'Object' ? brief(value) : `${/^[AEIOU]/.test(name) ? 'an' : 'a'} ${name}`;
}
