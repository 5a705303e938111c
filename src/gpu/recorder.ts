import { getOrInsert } from '../maps.ts';
import { type ParamValues, packParams } from '../wgsl/reflect.ts';
import type { Kernel } from './pipelines.ts';
import type { GpuTimer } from './timer.ts';

export type Groups = readonly [number, number?, number?];

/** A kernel launch; `buffers` are in the order of the kernel's bindings. */
export interface Call {
  readonly kernel: Kernel;
  readonly buffers: readonly GPUBuffer[];
  readonly params: ParamValues;
  readonly groups: Groups;
}

/** A call that is ready to be encoded: its bind group holds every buffer and the slot of its params. */
export interface Dispatch {
  readonly kernel: Pick<Kernel, 'label' | 'pipeline'>;
  readonly bindGroup: GPUBindGroup;
  readonly groups: Groups;
}

/** Bind groups kept across submits: more than a training step of a large network has. */
const BIND_GROUPS = 4096;

/**
 * Turns calls into dispatches. Their params lie in one uniform buffer, written to the device in one go. Equal params
 * share a slot and equal calls a bind group, across submits too: a loop that makes the same calls again writes nothing
 * and creates no bind groups, which takes far longer than the rest of a launch.
 */
export class Recorder {
  readonly #device: GPUDevice;
  readonly #params: GPUBuffer;
  readonly #bytes: ArrayBuffer;
  readonly #view: DataView;
  readonly #words: Uint32Array;
  /** The latest slot by the hash of its words; another with the same hash replaces it. */
  readonly #slots = new Map<number, { readonly offset: number; readonly words: number }>();
  #used = 0;
  #uploaded = 0;
  /** By kernel, slot and buffers. */
  readonly #bindGroups = new Map<unknown, unknown>();
  #bindGroupCount = 0;

  /** @param size bytes of the uniform buffer */
  constructor(device: GPUDevice, size: number) {
    this.#device = device;
    this.#bytes = new ArrayBuffer(size);
    this.#view = new DataView(this.#bytes);
    this.#words = new Uint32Array(this.#bytes);
    this.#params = device.createBuffer({
      size,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      label: 'params',
    });
  }

  /** Whether there is room for one more set of params of this kernel. */
  hasRoom(kernel: Kernel): boolean {
    return this.#used + kernel.slotBytes <= this.#bytes.byteLength;
  }

  record({ kernel, buffers, params, groups }: Call): Dispatch {
    const slot = this.#pack(kernel, params);
    return { kernel, bindGroup: this.#bindGroup(kernel, buffers, slot), groups };
  }

  /** Packs params; returns the byte offset of the slot that holds them. */
  #pack(kernel: Kernel, values: ParamValues): number {
    const offset = this.#used;
    const at = offset / 4;
    const words = (kernel.layout.uniform?.size ?? 0) / 4;
    // Padding between the fields is compared too.
    this.#words.fill(0, at, at + words);
    packParams(kernel.layout, values, this.#view, offset);
    let hash = words;
    for (let i = at; i < at + words; i++) {
      hash = Math.imul(hash ^ this.#words[i]!, 0x9e3779b1);
      // Floats differ in their high bits, which a product alone would never carry to the low ones.
      hash ^= hash >>> 15;
    }
    const known = this.#slots.get(hash);
    if (known?.words === words && this.#equal(known.offset / 4, at, words)) return known.offset;
    this.#slots.set(hash, { offset, words });
    this.#used += kernel.slotBytes;
    return offset;
  }

  #equal(a: number, b: number, words: number): boolean {
    for (let i = 0; i < words; i++) if (this.#words[a + i] !== this.#words[b + i]) return false;
    return true;
  }

  #bindGroup(kernel: Kernel, buffers: readonly GPUBuffer[], slot: number): GPUBindGroup {
    let last = descend(descend(this.#bindGroups, kernel), slot);
    for (let i = 0; i < buffers.length - 1; i++) last = descend(last, buffers[i]);
    return getOrInsert<unknown, unknown>(last, buffers.at(-1), () => {
      const { storage, uniform } = kernel.layout;
      const entries: GPUBindGroupEntry[] = storage.map(({ binding }, i) => ({
        binding,
        resource: { buffer: buffers[i]! },
      }));
      if (uniform !== undefined) {
        const resource = { buffer: this.#params, offset: slot, size: uniform.size };
        entries.push({ binding: uniform.binding, resource });
      }
      this.#bindGroupCount++;
      return this.#device.createBindGroup({ layout: kernel.bindGroupLayout, entries });
    }) as GPUBindGroup;
  }

  /** Writes new params to the device, and forgets the bind groups when there are too many. */
  upload(): void {
    const bytes = this.#used - this.#uploaded;
    if (bytes > 0) {
      this.#device.queue.writeBuffer(this.#params, this.#uploaded, this.#bytes, this.#uploaded, bytes);
    }
    this.#uploaded = this.#used;
    if (this.#bindGroupCount <= BIND_GROUPS) return;
    this.#bindGroups.clear();
    this.#bindGroupCount = 0;
  }

  /** Forgets all params; what was submitted has read them. */
  reset(): void {
    this.#slots.clear();
    this.#used = 0;
    this.#uploaded = 0;
  }

  dispose(): void {
    this.#params.destroy();
  }
}

function descend(map: Map<unknown, unknown>, key: unknown): Map<unknown, unknown> {
  return getOrInsert<unknown, unknown>(map, key, () => new Map()) as Map<unknown, unknown>;
}

/** Encodes dispatches into one pass; with a timer, each into a separate pass so that it can be timed. */
export function encode(encoder: GPUCommandEncoder, dispatches: readonly Dispatch[], timer?: GpuTimer): void {
  if (timer === undefined) {
    encodePass(encoder.beginComputePass(), dispatches);
    return;
  }
  for (const dispatch of dispatches) {
    const timestampWrites = timer.next(dispatch.kernel.label);
    encodePass(encoder.beginComputePass(timestampWrites && { timestampWrites }), [dispatch]);
  }
}

function encodePass(pass: GPUComputePassEncoder, dispatches: readonly Dispatch[]): void {
  let previous: GPUComputePipeline | undefined;
  for (const { kernel, bindGroup, groups } of dispatches) {
    if (kernel.pipeline !== previous) pass.setPipeline(kernel.pipeline);
    previous = kernel.pipeline;
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
  }
  pass.end();
}
