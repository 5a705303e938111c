/**
 * Every error this package raises on purpose is an `EliError`: `code` is stable and meant for programs,
 * `message` says what was wrong and where, `hint` says what to do about it.
 */
export type ErrorCode =
  | 'NO_ADAPTER'
  | 'DEVICE_LOST'
  | 'OUT_OF_MEMORY'
  | 'VALIDATION'
  | 'WGSL'
  | 'SHAPE'
  | 'DTYPE'
  | 'ARGUMENT'
  | 'DISPOSED'
  | 'WRONG_ENGINE'
  | 'NOT_DIFFERENTIABLE'
  | 'NON_FINITE'
  | 'ABORTED'
  | 'FILE'
  | 'FORMAT'
  | 'CONFIG'
  | 'RUN_FOLDER';

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

/** @throws EliError `ARGUMENT` when `value` is a promise: a forgotten `await` is said where it matters. */
export function refusePromise(what: string, value: unknown): void {
  if (typeof (value as Partial<Promise<unknown>> | null | undefined)?.then === 'function') {
    throw new EliError('ARGUMENT', `${what} is a promise`, { hint: 'is an `await` missing?' });
  }
}

/** A JSON object: neither null nor an array. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value for a message, cut where it is long. Unlike `String`, it takes any value that JSON can hold. */
export function brief(value: unknown): string {
  // Such as NaN, which JSON has not.
  if (typeof value === 'number') return String(value);
  let text: string;
  try {
    text = JSON.stringify(value) ?? 'missing';
  } catch {
    // Nested deeper than the stack.
    text = Array.isArray(value) ? 'a deep list' : 'a deep object';
  }
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}
