import { EliError } from '../errors.ts';
import { getOrInsert } from '../maps.ts';
import { type Call, type Dispatch, Recorder } from './recorder.ts';
import type { Memory, Storage } from './storage.ts';

/** What a program needs of its engine. */
interface ProgramHost {
  readonly device: GPUDevice;
  /** Submits what is pending, then all `dispatches`, `times` times in order. */
  replay(dispatches: readonly Dispatch[], times: number): void;
}

/** The memory of a program while it is traced: a buffer released inside is reused inside, and kept afterwards. */
export class Trace implements Memory {
  closed = false;
  readonly #pool: Memory;
  readonly #calls: Call[] = [];
  readonly #owned: GPUBuffer[] = [];
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #outer = new Set<Storage<unknown>>();

  constructor(pool: Memory) {
    this.#pool = pool;
  }

  acquire(bytes: number): GPUBuffer {
    const buffer = this.#pool.acquire(bytes);
    const reused = this.#free.get(buffer.size)?.pop();
    if (reused !== undefined) {
      this.#pool.release(buffer);
      return reused;
    }
    this.#owned.push(buffer);
    return buffer;
  }

  release(buffer: GPUBuffer): void {
    getOrInsert(this.#free, buffer.size, () => []).push(buffer);
  }

  /** Adds a call on the buffers of `storages`. */
  add(call: Call, storages: readonly Storage<unknown>[]): void {
    for (const storage of storages) {
      if (storage.memory !== this && !this.#outer.has(storage)) this.#outer.add(storage.retain());
    }
    this.#calls.push(call);
  }

  finish<T>(host: ProgramHost, result: T): Program<T> {
    const bytes = this.#calls.reduce((sum, { kernel }) => sum + kernel.slotBytes, 0);
    const recorder = new Recorder(host.device, Math.max(16, bytes));
    const dispatches = this.#calls.map((call) => recorder.record(call));
    recorder.upload();
    return new Program(host, result, dispatches, () => {
      recorder.dispose();
      this.abandon();
    });
  }

  /** Gives everything back: after an error while tracing, or when the program is disposed. */
  abandon(): void {
    this.closed = true;
    for (const storage of this.#outer) storage.release();
    for (const buffer of this.#owned) this.#pool.release(buffer);
  }
}

/**
 * A captured program: the dispatches, bind groups and buffers of a traced function, replayed without any JavaScript
 * work except the encoding. `result` is what the traced function returned; its tensors hold the values of the latest
 * run and cannot be used once the program is disposed.
 */
export class Program<T> {
  readonly result: T;
  readonly #host: ProgramHost;
  readonly #dispatches: readonly Dispatch[];
  readonly #free: () => void;
  #disposed = false;

  constructor(host: ProgramHost, result: T, dispatches: readonly Dispatch[], free: () => void) {
    this.#host = host;
    this.result = result;
    this.#dispatches = dispatches;
    this.#free = free;
  }

  /** Kernels launched by one replay. */
  get dispatches(): number {
    return this.#dispatches.length;
  }

  /** Replays the program `times` times in order; the work is submitted, not awaited (`await engine.sync()` does). */
  run(times = 1): void {
    if (this.#disposed) throw new EliError('DISPOSED', 'this captured program was disposed');
    this.#host.replay(this.#dispatches, times);
  }

  /** Frees the captured buffers, and with them the tensors of `result`. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#free();
  }

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
