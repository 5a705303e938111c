/** Where buffers come from and go back to: the engine's pool, or a program that is being traced. */
export interface Memory {
  /** Whether its buffers were freed. */
  readonly closed: boolean;
  acquire(bytes: number): GPUBuffer;
  /** @param owner as given to `watch` */
  release(buffer: GPUBuffer, owner?: object): void;
  /** Takes the buffer back by itself when `owner` is garbage-collected without `release`. */
  watch?(buffer: GPUBuffer, owner: object): void;
}

/** A reference-counted GPU buffer of an `Engine`; tensors that are views of one another share it. */
export class Storage<Engine> {
  readonly engine: Engine;
  readonly buffer: GPUBuffer;
  /** Bytes requested; the buffer may be larger. */
  readonly bytes: number;
  /** The pool, or the program that was being traced: the buffer then lives as long as that program. */
  readonly memory: Memory;
  #references = 1;
  #watched = false;

  constructor(engine: Engine, memory: Memory, bytes: number) {
    this.engine = engine;
    this.memory = memory;
    this.bytes = bytes;
    this.buffer = memory.acquire(bytes);
  }

  retain(): this {
    this.#references++;
    return this;
  }

  /** From now on the buffer comes back when this is dropped: for what no `tidy` disposes of. */
  watch(): void {
    if (this.#watched || this.memory.watch === undefined) return;
    this.#watched = true;
    this.memory.watch(this.buffer, this);
  }

  release(): void {
    if (--this.#references === 0) this.memory.release(this.buffer, this.#watched ? this : undefined);
  }
}
