/** Where buffers come from and go back to: the engine's pool, or a program that is being traced. */
export interface Memory {
  /** Whether its buffers were freed. */
  readonly closed: boolean;
  /** @param owner when it is garbage-collected without `release`, the buffer comes back by itself where that is possible */
  acquire(bytes: number, owner?: object): GPUBuffer;
  release(buffer: GPUBuffer, owner?: object): void;
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

  constructor(engine: Engine, memory: Memory, bytes: number) {
    this.engine = engine;
    this.memory = memory;
    this.bytes = bytes;
    this.buffer = memory.acquire(bytes, this);
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references === 0) this.memory.release(this.buffer, this);
  }
}
