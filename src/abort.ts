import { EliError } from './errors.ts';

/**
 * Work that an `AbortSignal` has stopped: `name` is `AbortError` and `code` is `ABORTED`, as programs expect them, `cause`
 * is the signal's reason.
 */
export class AbortError extends EliError {
  override readonly name = 'AbortError';
  /** What was done until then, where the work says that it gives something here. */
  readonly partial: unknown;

  constructor(
    message: string,
    { signal, hint, partial }: { signal?: AbortSignal | undefined; hint?: string; partial?: unknown } = {},
  ) {
    super('ABORTED', message, { ...(hint !== undefined && { hint }), cause: signal?.reason });
    this.partial = partial;
  }
}

/** @throws AbortError if the signal is raised */
export function stopIfAborted(signal: AbortSignal | undefined, message: string, partial?: unknown): void {
  if (signal?.aborted === true) throw new AbortError(message, { signal, partial });
}

/**
 * What `work` resolves to, unless the signal is raised before or meanwhile. The work itself is not stopped: what it does
 * after that is dropped.
 * @throws AbortError (`error`) at once when the signal is raised
 */
export async function unlessAborted<T>(
  signal: AbortSignal | undefined,
  work: () => Promise<T>,
  error: () => AbortError,
): Promise<T> {
  if (signal === undefined) return work();
  if (signal.aborted) throw error();
  let stop = (): void => undefined;
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(error());
  });
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([work(), stopped]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

/** For `catch`: what stopped work had done, its `partial`. @throws whatever else was thrown */
export function partialOf<T>(error: unknown): T {
  if (error instanceof AbortError && error.partial !== undefined) return error.partial as T;
  throw error;
}
