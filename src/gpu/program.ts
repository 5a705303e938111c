import { EliError } from '../errors.ts';
import type { ParamValues } from '../wgsl/reflect.ts';
import type { Kernel } from './pipelines.ts';
import { BindGroups, type Dispatch, type Groups, ParamArena } from './recorder.ts';
import type { Memory, Storage } from './storage.ts';

/** Dispatches per submit: enough to hide the cost of a submit, few enough that the device starts while more is encoded. */
const DISPATCHES_PER_SUBMIT = 256;

/** What a program needs of the engine that it runs on. */
export interface ProgramHost {
  readonly device: GPUDevice;
  /** Submits what is pending. */
  flush(): void;
  /** Encodes `dispatches` `times` times into one command buffer and submits it. */
  submit(dispatches: readonly Dispatch[], times: number): void;
}

interface Traced {
  readonly kernel: Kernel;
  readonly buffers: readonly GPUBuffer[];
  readonly params: ParamValues;
  readonly groups: Groups;
}

/** The memory of a program while it is traced: a buffer released inside is used again inside, and kept after. */
export class Trace implements Memory {
  readonly #pool: Memory;
  readonly #dispatches: Traced[] = [];
  readonly #owned: GPUBuffer[] = [];
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #outer = new Set<Storage<unknown>>();
  #closed = false;

  constructor(pool: Memory) {
    this.#pool = pool;
  }

  get closed(): boolean {
    return this.#closed;
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
    const list = this.#free.get(buffer.size);
    if (list === undefined) this.#free.set(buffer.size, [buffer]);
    else list.push(buffer);
  }

  add(kernel: Kernel, storages: readonly Storage<unknown>[], params: ParamValues, groups: Groups): void {
    for (const storage of storages) {
      if (storage.memory !== this && !this.#outer.has(storage)) this.#outer.add(storage.retain());
    }
    this.#dispatches.push({ kernel, buffers: storages.map((s) => s.buffer), params, groups });
  }

  finish<T>(host: ProgramHost, result: T): Program<T> {
    const { device } = host;
    const align = Math.max(16, device.limits.minUniformBufferOffsetAlignment);
    const slot = (kernel: Kernel): number => Math.ceil((kernel.layout.uniform?.size ?? 0) / align) * align;
    const bytes = this.#dispatches.reduce((sum, d) => sum + slot(d.kernel), 0);
    const arena = new ParamArena(device, Math.max(align, bytes));
    const bindGroups = new BindGroups(device, arena.buffer);
    const dispatches = this.#dispatches.map((d): Dispatch => {
      const offset = arena.push(d.kernel, d.params);
      return { kernel: d.kernel, bindGroup: bindGroups.get(d.kernel, d.buffers, offset), groups: d.groups };
    });
    arena.upload();
    return new Program(host, result, dispatches, () => {
      arena.buffer.destroy();
      this.abandon();
    });
  }

  /** Gives everything back: after an error while tracing, or when the program is disposed. */
  abandon(): void {
    this.#closed = true;
    for (const storage of this.#outer) storage.release();
    for (const buffer of this.#owned) this.#pool.release(buffer);
  }
}

/**
 * A captured program: the dispatches, bind groups and buffers of a traced function, replayed with no JavaScript work
 * but the encoding. `result` is what the traced function returned; its tensors hold the values of the latest run, and
 * cannot be used once the program is disposed.
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
    this.#host.flush();
    const perSubmit = Math.max(1, Math.floor(DISPATCHES_PER_SUBMIT / Math.max(1, this.#dispatches.length)));
    for (let done = 0; done < times; done += perSubmit) {
      this.#host.submit(this.#dispatches, Math.min(perSubmit, times - done));
    }
  }

  /** Frees the captured buffers; the results of `result` are gone with them. */
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
