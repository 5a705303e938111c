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

/**
 * Params of many dispatches in one uniform buffer, written to the device in one go. Equal params share a slot, also
 * with earlier submits: a loop that launches the same kernels again writes nothing, and finds its bind groups.
 */
export class ParamArena {
  readonly #device: GPUDevice;
  readonly buffer: GPUBuffer;
  readonly #bytes: ArrayBuffer;
  readonly #view: DataView;
  readonly #words: Uint32Array;
  readonly #align: number;
  /** The latest slot by the hash of its words; another with the same hash replaces it. */
  readonly #slots = new Map<number, { readonly offset: number; readonly words: number }>();
  #used = 0;
  #uploaded = 0;

  constructor(device: GPUDevice, size: number) {
    this.#device = device;
    this.#bytes = new ArrayBuffer(size);
    this.#view = new DataView(this.#bytes);
    this.#words = new Uint32Array(this.#bytes);
    this.#align = Math.max(16, device.limits.minUniformBufferOffsetAlignment);
    this.buffer = device.createBuffer({
      size,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      label: 'params',
    });
  }

  /** Whether there is room for params of so many bytes that no slot holds yet. */
  has(bytes: number): boolean {
    return this.#used + bytes <= this.#bytes.byteLength;
  }

  /** Packs the params of a dispatch; returns the byte offset of the slot that holds them. */
  push(kernel: Kernel, values: ParamValues): number {
    const offset = this.#used;
    const size = kernel.layout.uniform?.size ?? 0;
    const [at, words] = [offset / 4, size / 4];
    // Padding between the fields counts in the comparison.
    this.#words.fill(0, at, at + words);
    packParams(kernel.file, kernel.layout, values, this.#view, offset);
    let hash = words;
    for (let i = at; i < at + words; i++) {
      hash = Math.imul(hash ^ this.#words[i]!, 0x9e3779b1);
      // Floats differ in their high bits, which a product alone would never carry to the low ones.
      hash ^= hash >>> 15;
    }
    const known = this.#slots.get(hash);
    if (known?.words === words && this.#equal(known.offset / 4, at, words)) return known.offset;
    this.#slots.set(hash, { offset, words });
    this.#used = Math.ceil((offset + size) / this.#align) * this.#align;
    return offset;
  }

  #equal(a: number, b: number, words: number): boolean {
    for (let i = 0; i < words; i++) if (this.#words[a + i] !== this.#words[b + i]) return false;
    return true;
  }

  /** Writes to the device what is new. */
  upload(): void {
    const bytes = this.#used - this.#uploaded;
    if (bytes > 0) {
      this.#device.queue.writeBuffer(this.buffer, this.#uploaded, this.#bytes, this.#uploaded, bytes);
    }
    this.#uploaded = this.#used;
  }

  /** Forgets all slots; what was submitted has read them. */
  reset(): void {
    this.#slots.clear();
    this.#used = 0;
    this.#uploaded = 0;
  }
}

/** Bind groups over one arena by kernel, slot and buffers: making one takes far longer than the rest of a launch. */
export class BindGroups {
  readonly #device: GPUDevice;
  readonly #arena: GPUBuffer;
  readonly #groups = new Map<unknown, unknown>();
  #count = 0;

  constructor(device: GPUDevice, arena: GPUBuffer) {
    this.#device = device;
    this.#arena = arena;
  }

  get(kernel: Kernel, buffers: readonly GPUBuffer[], slot: number): GPUBindGroup {
    let last = descend(descend(this.#groups, kernel), slot);
    for (let i = 0; i < buffers.length - 1; i++) last = descend(last, buffers[i]);
    const key = buffers.at(-1);
    let group = last.get(key) as GPUBindGroup | undefined;
    if (group === undefined) {
      group = bind(this.#device, kernel, buffers, this.#arena, slot);
      last.set(key, group);
      this.#count++;
    }
    return group;
  }

  /** Forgets all of them when there are more than `limit`. */
  trim(limit: number): void {
    if (this.#count <= limit) return;
    this.#groups.clear();
    this.#count = 0;
  }
}

function descend(map: Map<unknown, unknown>, key: unknown): Map<unknown, unknown> {
  let next = map.get(key) as Map<unknown, unknown> | undefined;
  if (next === undefined) {
    next = new Map();
    map.set(key, next);
  }
  return next;
}

/** The bind group of a kernel over `buffers` (in binding order) and a slot of the arena. */
function bind(
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
