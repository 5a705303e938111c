import { EliError } from '../errors.ts';
import { idleWhile } from './idle.ts';

/** Something that waits for the device. */
interface Waiting {
  failure: EliError | undefined;
}

/** Errors that a device reported, and who is told: Dawn reports errors later than the call that caused them. */
export class Failures {
  readonly #waiting = new Set<Waiting>();
  /** An error that nobody was told of yet. */
  #failure: EliError | undefined;
  #lost: EliError | undefined;
  #disposed = false;

  get disposed(): boolean {
    return this.#disposed;
  }

  get lost(): boolean {
    return this.#lost !== undefined;
  }

  /** From now on everything is refused. */
  dispose(): void {
    this.#disposed = true;
  }

  /** Keeps the first failure; a compile error or a missing buffer explains the validation errors that it causes. */
  report(error: EliError): void {
    if (error.code === 'DEVICE_LOST') this.#lost = error;
    else if (
      this.#failure === undefined ||
      (this.#failure.code === 'VALIDATION' && error.code !== 'VALIDATION')
    )
      this.#failure = error;
  }

  /** @throws EliError `DISPOSED` or `DEVICE_LOST`. */
  check(): void {
    if (this.#disposed) throw new EliError('DISPOSED', 'this engine was disposed');
    // Other errors wait for the next read or sync: the error that explains them may not have arrived yet.
    if (this.#lost !== undefined) throw this.#lost;
  }

  /**
   * Awaits `work` of the device and the errors that come with it. A failure is reported once, to everything that waits
   * at that time: work that is submitted together fails together. A lost device stays lost.
   * @param what what is awaited, in the past tense
   */
  async settled<T>(what: string, work: Promise<T>): Promise<T> {
    const waiting: Waiting = { failure: undefined };
    this.#waiting.add(waiting);
    let result: { value: T } | { cause: unknown };
    try {
      result = await idleWhile(work).then(
        (value) => ({ value }),
        (cause: unknown) => ({ cause }),
      );
      // Errors arrive through other promises: give them a turn.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#failure !== undefined) {
        for (const each of this.#waiting) each.failure ??= this.#failure;
        this.#failure = undefined;
      }
    } finally {
      this.#waiting.delete(waiting);
    }
    if (this.#disposed) {
      throw new EliError('DISPOSED', `this engine was disposed before ${what}`, {
        hint: 'await pending work before engine.dispose()',
      });
    }
    if (this.#lost !== undefined) throw this.#lost;
    if (waiting.failure !== undefined) throw waiting.failure;
    if ('cause' in result) {
      const { cause } = result;
      throw new EliError('VALIDATION', `the GPU device failed before ${what}: ${String(cause)}`, { cause });
    }
    return result.value;
  }
}
