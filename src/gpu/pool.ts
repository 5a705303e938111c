import { EliError } from '../errors.ts';

export interface PoolStats {
  /** Buffers alive on the device, in use or waiting. */
  readonly buffers: number;
  /** Bytes of those buffers. */
  readonly bytes: number;
  readonly inUse: number;
  readonly bytesInUse: number;
  /** Largest `bytesInUse` so far. */
  readonly peakBytesInUse: number;
}

/**
 * Reuses storage buffers by size class, so that a training loop allocates nothing after its first step.
 * A buffer may be handed out again while earlier dispatches on it are still pending: everything goes through one
 * queue in order.
 */
export class BufferPool {
  readonly #device: GPUDevice;
  readonly #free = new Map<number, GPUBuffer[]>();
  readonly #all = new Set<GPUBuffer>();
  #bytes = 0;
  #inUse = 0;
  #bytesInUse = 0;
  #peak = 0;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /**
   * A storage buffer of at least `bytes` bytes with undefined contents.
   * @throws EliError `OUT_OF_MEMORY` when the adapter's limits do not allow that size.
   */
  acquire(bytes: number): GPUBuffer {
    const size = sizeClass(bytes);
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
    if (bytes > limit) {
      throw new EliError(
        'OUT_OF_MEMORY',
        `a tensor of ${bytes} bytes is over this adapter's limit of ${limit} bytes`,
        {
          hint: 'process the data in smaller pieces (a smaller batch), or use an adapter with larger limits',
        },
      );
    }
    const buffer = this.#free.get(size)?.pop() ?? this.#create(Math.min(size, Math.floor(limit / 4) * 4));
    this.#inUse++;
    this.#bytesInUse += buffer.size;
    this.#peak = Math.max(this.#peak, this.#bytesInUse);
    return buffer;
  }

  #create(size: number): GPUBuffer {
    const buffer = this.#device.createBuffer({
      size,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    this.#all.add(buffer);
    this.#bytes += size;
    return buffer;
  }

  release(buffer: GPUBuffer): void {
    this.#inUse--;
    this.#bytesInUse -= buffer.size;
    const size = sizeClass(buffer.size);
    const list = this.#free.get(size);
    if (list === undefined) this.#free.set(size, [buffer]);
    else list.push(buffer);
  }

  /** Destroys every buffer, those in use as well. */
  dispose(): void {
    for (const buffer of this.#all) buffer.destroy();
    this.#all.clear();
    this.#free.clear();
    this.#bytes = 0;
    this.#inUse = 0;
    this.#bytesInUse = 0;
  }

  get stats(): PoolStats {
    return {
      buffers: this.#all.size,
      bytes: this.#bytes,
      inUse: this.#inUse,
      bytesInUse: this.#bytesInUse,
      peakBytesInUse: this.#peak,
    };
  }
}

/** Size classes: 256 bytes at least, then eighths of a power of two, so at most 1/8 of a buffer is unused. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = 2 ** Math.max(8, Math.floor(Math.log2(bytes - 1)) - 3 + 1);
  return Math.ceil(bytes / step) * step;
}
