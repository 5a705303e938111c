import { EliError } from '../errors.ts';
import { getOrInsert } from '../maps.ts';
import type { Memory } from './storage.ts';

/** Buffers of an engine: how many there are, and their bytes. */
export interface PoolStats {
  /** Buffers on the device, in use or free. */
  readonly buffers: number;
  /** Bytes of those buffers. */
  readonly bytes: number;
  readonly inUse: number;
  readonly bytesInUse: number;
  /** Largest `bytesInUse` so far. */
  readonly peakBytesInUse: number;
}

interface PoolHooks {
  /** Most bytes that all buffers together may take. */
  readonly limit: number;
  /** Called before free buffers are destroyed. */
  readonly beforeTrim: () => void;
  /** Called when the device has no memory for a buffer that was handed out. */
  readonly onError: (error: EliError) => void;
}

/**
 * Reuses storage buffers by size class, so that a training loop allocates nothing after its first step.
 * A buffer may be handed out again while earlier dispatches on it are still pending: everything goes through one
 * queue in order.
 */
export class BufferPool implements Memory {
  closed = false;
  readonly #device: GPUDevice;
  readonly #hooks: PoolHooks;
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #all = new Set<GPUBuffer>();
  /** Takes back the buffers of tensors that were dropped. The pool owns it: a global one would keep engines alive. */
  readonly #dropped = new FinalizationRegistry<GPUBuffer>((buffer) => this.#reclaim(buffer));
  readonly #counts = { bytes: 0, inUse: 0, bytesInUse: 0, peakBytesInUse: 0 };

  constructor(device: GPUDevice, hooks: PoolHooks) {
    this.#device = device;
    this.#hooks = hooks;
  }

  get stats(): PoolStats {
    return { buffers: this.#all.size, ...this.#counts };
  }

  /**
   * A storage buffer of at least `bytes` bytes with undefined contents.
   * @throws EliError `OUT_OF_MEMORY` when the limits of the adapter or of this pool do not allow that size.
   */
  acquire(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes > limit) {
      throw outOfMemory(
        `a tensor of ${bytes} bytes is over this adapter's limit of ${limit} bytes`,
        'process the data in smaller pieces (a smaller batch), or use an adapter with larger limits',
      );
    }
    const buffer = this.#free.get(size)?.pop() ?? this.#create(Math.min(size, Math.floor(limit / 4) * 4));
    const counts = this.#counts;
    counts.inUse++;
    counts.bytesInUse += buffer.size;
    counts.peakBytesInUse = Math.max(counts.peakBytesInUse, counts.bytesInUse);
    return buffer;
  }

  #create(size: number): GPUBuffer {
    const { limit } = this.#hooks;
    const counts = this.#counts;
    if (counts.bytes + size > limit) this.#trim();
    if (counts.bytes + size > limit) {
      throw outOfMemory(
        `a buffer of ${size} bytes does not fit: ${counts.bytesInUse} of the ${limit} bytes this engine may take are in use`,
      );
    }
    this.#device.pushErrorScope('out-of-memory');
    const buffer = this.#device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    this.#all.add(buffer);
    counts.bytes += buffer.size;
    this.#device.popErrorScope().then(
      (error) => {
        if (error !== null) this.#refused(buffer, error);
      },
      // A device that is lost reports itself through its own promise.
      () => undefined,
    );
    return buffer;
  }

  /** The device reported that it had no memory for a buffer: it must not be handed out again. */
  #refused(buffer: GPUBuffer, error: GPUError): void {
    if (!this.#forget(buffer)) return;
    this.#hooks.onError(
      outOfMemory(
        `the GPU has no memory for a buffer of ${buffer.size} bytes; this engine has ${this.#counts.bytes} bytes in ${this.#all.size} buffers (${error.message})`,
      ),
    );
    // It may be among the free buffers.
    this.#trim();
  }

  #forget(buffer: GPUBuffer): boolean {
    if (!this.#all.delete(buffer)) return false;
    this.#counts.bytes -= buffer.size;
    return true;
  }

  /** Destroys the free buffers. */
  #trim(): void {
    this.#hooks.beforeTrim();
    for (const list of this.#free.values()) {
      for (const buffer of list) {
        this.#forget(buffer);
        buffer.destroy();
      }
    }
    this.#free.clear();
  }

  watch(buffer: GPUBuffer, owner: object): void {
    this.#dropped.register(owner, buffer, owner);
  }

  #reclaim(buffer: GPUBuffer): void {
    if (this.closed) return;
    warnOfDropped(buffer.size);
    this.release(buffer);
  }

  release(buffer: GPUBuffer, owner?: object): void {
    if (this.closed) return;
    if (owner !== undefined) this.#dropped.unregister(owner);
    this.#counts.inUse--;
    this.#counts.bytesInUse -= buffer.size;
    // The device had no memory for this one.
    if (!this.#all.has(buffer)) return;
    getOrInsert(this.#free, sizeClass(buffer.size), () => []).push(buffer);
  }

  /** Destroys every buffer, including those in use. */
  dispose(): void {
    this.closed = true;
    for (const buffer of this.#all) buffer.destroy();
    this.#all.clear();
    this.#free.clear();
    Object.assign(this.#counts, { bytes: 0, inUse: 0, bytesInUse: 0 });
  }
}

function outOfMemory(
  message: string,
  hint = 'dispose tensors (engine.tidy), use a smaller batch or an adapter with more memory',
): EliError {
  return new EliError('OUT_OF_MEMORY', message, { hint });
}

/** At least 256 bytes, then eighths of a power of two: at most 1/8 of a buffer is unused. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** Math.max(8, Math.floor(Math.log2(bytes - 1)) - 2);
  return Math.ceil(bytes / step) * step;
}

let warned = false;

/** Once per process, and not in production. */
function warnOfDropped(bytes: number): void {
  if (warned || process.env.NODE_ENV === 'production') return;
  warned = true;
  process.emitWarning(`a tensor of ${bytes} bytes was dropped without dispose`, {
    type: 'EliWarning',
    code: 'ELI_DROPPED',
    detail:
      'Its buffer was taken back when the garbage collector found it, which may be late: it does not see GPU memory. ' +
      'Call tensor.dispose(), or work inside engine.tidy.',
  });
}
