import { getOrInsert } from '../maps.ts';

/** GPU time of a kernel, measured by timestamp queries. */
export interface KernelTime {
  readonly kernel: string;
  readonly dispatches: number;
  /** Sum over its dispatches, in milliseconds of GPU time. */
  readonly milliseconds: number;
}

const CAPACITY = 2048;

/** Collects start and end timestamps of up to 2,048 dispatches; further ones are not timed. */
export class GpuTimer {
  readonly #querySet: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #readable: GPUBuffer;
  readonly #labels: string[] = [];

  constructor(device: GPUDevice) {
    this.#querySet = device.createQuerySet({ type: 'timestamp', count: 2 * CAPACITY });
    const size = 16 * CAPACITY;
    const { QUERY_RESOLVE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    this.#resolved = device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    this.#readable = device.createBuffer({ size, usage: COPY_DST | MAP_READ });
  }

  next(label: string): GPUComputePassTimestampWrites | undefined {
    const index = this.#labels.length;
    if (index >= CAPACITY) return undefined;
    this.#labels.push(label);
    return {
      querySet: this.#querySet,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    };
  }

  /** Reads the times of what was encoded so far, longest first. */
  async finish(device: GPUDevice): Promise<KernelTime[]> {
    const count = this.#labels.length;
    if (count === 0) return [];
    const encoder = device.createCommandEncoder();
    encoder.resolveQuerySet(this.#querySet, 0, 2 * count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#readable, 0, 16 * count);
    device.queue.submit([encoder.finish()]);
    await this.#readable.mapAsync(GPUMapMode.READ, 0, 16 * count);
    const stamps = new BigUint64Array(this.#readable.getMappedRange(0, 16 * count));
    const sums = new Map<string, { dispatches: number; nanoseconds: number }>();
    this.#labels.forEach((label, i) => {
      const sum = getOrInsert(sums, label, () => ({ dispatches: 0, nanoseconds: 0 }));
      sum.dispatches++;
      sum.nanoseconds += Number(stamps[2 * i + 1]! - stamps[2 * i]!);
    });
    this.#readable.unmap();
    return [...sums]
      .map(([kernel, sum]) => ({ kernel, dispatches: sum.dispatches, milliseconds: sum.nanoseconds / 1e6 }))
      .sort((a, b) => b.milliseconds - a.milliseconds);
  }

  dispose(): void {
    this.#querySet.destroy();
    this.#resolved.destroy();
    this.#readable.destroy();
  }
}
