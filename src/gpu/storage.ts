/** Where released buffers go: the engine's pool, or a captured program while it is traced. */
export interface Memory {
  /** Whether its buffers were freed: their contents are no longer meaningful. */
  readonly closed: boolean;
  acquire(bytes: number): GPUBuffer;
  release(buffer: GPUBuffer): void;
}

/** A reference-counted GPU buffer of an `Engine`; tensors that are views of one another share it. */
export class Storage<Engine> {
  readonly engine: Engine;
  readonly buffer: GPUBuffer;
  /** Bytes asked for; the buffer may be larger. */
  readonly bytes: number;
  /** The program being traced when this storage was made: its buffer lives as long as that program. */
  readonly memory: Memory;
  #references = 1;

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

  release(): void {
    if (--this.#references === 0) this.memory.release(this.buffer);
  }
}
