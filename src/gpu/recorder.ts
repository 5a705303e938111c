import { type ParamValues, packParams } from '../wgsl/reflect.ts';
import type { Kernel } from './pipelines.ts';
import type { GpuTimer } from './timer.ts';

export type Groups = readonly [number, number?, number?];

/** A dispatch that is ready to be encoded: its bind group holds every buffer and the place of its params. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly bindGroup: GPUBindGroup;
  readonly groups: Groups;
}

/** Params of many dispatches in one uniform buffer, written to the device in one go. */
export class ParamArena {
  readonly #device: GPUDevice;
  readonly buffer: GPUBuffer;
  readonly #bytes: ArrayBuffer;
  readonly #view: DataView;
  readonly #align: number;
  #used = 0;

  constructor(device: GPUDevice, size: number) {
    this.#device = device;
    this.#bytes = new ArrayBuffer(size);
    this.#view = new DataView(this.#bytes);
    this.#align = Math.max(16, device.limits.minUniformBufferOffsetAlignment);
    this.buffer = device.createBuffer({
      size,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      label: 'params',
    });
  }

  has(bytes: number): boolean {
    return this.#used + bytes <= this.#bytes.byteLength;
  }

  /** Packs the params of a dispatch; returns the byte offset of its slot. */
  push(kernel: Kernel, values: ParamValues): number {
    const offset = this.#used;
    packParams(kernel.file, kernel.layout, values, this.#view, offset);
    this.#used = Math.ceil((offset + (kernel.layout.uniform?.size ?? 0)) / this.#align) * this.#align;
    return offset;
  }

  upload(): void {
    if (this.#used > 0) this.#device.queue.writeBuffer(this.buffer, 0, this.#bytes, 0, this.#used);
  }

  reset(): void {
    this.#used = 0;
  }
}

/** The bind group of a kernel over `buffers` (in binding order) and a slot of the arena. */
export function bind(
  device: GPUDevice,
  kernel: Kernel,
  buffers: readonly GPUBuffer[],
  arena: GPUBuffer,
  slot: number,
): GPUBindGroup {
  const { storage, uniform } = kernel.layout;
  const entries: GPUBindGroupEntry[] = storage.map((s, i) => ({
    binding: s.binding,
    resource: { buffer: buffers[i]! },
  }));
  if (uniform !== undefined) {
    entries.push({ binding: uniform.binding, resource: { buffer: arena, offset: slot, size: uniform.size } });
  }
  return device.createBindGroup({ layout: kernel.bindGroupLayout, entries });
}

/** Encodes dispatches into one pass; with a timer, one pass a dispatch so that each can be timed. */
export function encode(encoder: GPUCommandEncoder, dispatches: readonly Dispatch[], timer?: GpuTimer): void {
  if (timer !== undefined) {
    for (const dispatch of dispatches) {
      const timestampWrites = timer.next(dispatch.kernel.label);
      const pass = encoder.beginComputePass(timestampWrites === undefined ? {} : { timestampWrites });
      encodeOne(pass, dispatch, undefined);
      pass.end();
    }
    return;
  }
  const pass = encoder.beginComputePass();
  let previous: GPUComputePipeline | undefined;
  for (const dispatch of dispatches) {
    encodeOne(pass, dispatch, previous);
    previous = dispatch.kernel.pipeline;
  }
  pass.end();
}

function encodeOne(
  pass: GPUComputePassEncoder,
  dispatch: Dispatch,
  previous: GPUComputePipeline | undefined,
): void {
  if (dispatch.kernel.pipeline !== previous) pass.setPipeline(dispatch.kernel.pipeline);
  pass.setBindGroup(0, dispatch.bindGroup);
  pass.dispatchWorkgroups(dispatch.groups[0], dispatch.groups[1] ?? 1, dispatch.groups[2] ?? 1);
}
