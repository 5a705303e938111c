import { EliError } from '../errors.ts';
import { idleWhile } from './idle.ts';

/** Collects the errors of a device and rejects what awaits it: Dawn reports errors after the call that caused them. */
export class Failures {
  /** What awaits the device now, each with its failure. */
  readonly #waiting = new Set<{ failure?: EliError }>();
  /** An error that has not been thrown yet. */
  #failure: EliError | undefined;
  /** Why the device was lost, once it is. */
  lost: EliError | undefined;
  /** Set when the engine is disposed: from then on everything is rejected. */
  disposed = false;

  /** Keeps the first error, but prefers a compile error or a missing buffer to the validation errors it causes. */
  report(error: EliError): void {
    const first = this.#failure?.code;
    if (error.code === 'DEVICE_LOST') this.lost = error;
    else if (first === undefined || (first === 'VALIDATION' && error.code !== first)) this.#failure = error;
  }

  /** @throws EliError `DISPOSED` or `DEVICE_LOST`. */
  check(): void {
    if (this.disposed) throw new EliError('DISPOSED', 'this engine was disposed');
    // Other errors wait for the next read or sync: the error that explains them may not have arrived yet.
    if (this.lost !== undefined) throw this.lost;
  }

  /**
   * Awaits `work` of the device and the errors that come with it. An error rejects everything that is awaited when it
   * arrives, and nothing later: work that is submitted together fails together. A lost device stays lost.
   * @param what what is awaited, in the past tense
   */
  async settled<T>(what: string, work: Promise<T>): Promise<T> {
    const waiting: { failure?: EliError } = {};
    this.#waiting.add(waiting);
    const [result] = await Promise.allSettled([idleWhile(work)]);
    // Errors arrive through other promises: give them a turn.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.#failure !== undefined) {
      for (const each of this.#waiting) each.failure ??= this.#failure;
      this.#failure = undefined;
    }
    this.#waiting.delete(waiting);
    if (this.disposed) {
      throw new EliError('DISPOSED', `this engine was disposed before ${what}`, {
        hint: 'await pending work before engine.dispose()',
      });
    }
    if (this.lost !== undefined) throw this.lost;
    if (waiting.failure !== undefined) throw waiting.failure;
    if (result.status === 'fulfilled') return result.value;
    const cause: unknown = result.reason;
    throw new EliError('VALIDATION', `the GPU device failed before ${what}: ${String(cause)}`, { cause });
  }
}
