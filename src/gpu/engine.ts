import { checkNumber, EliError } from '../errors.ts';
import type { ParamValues } from '../wgsl/reflect.ts';
import type { Consts } from '../wgsl/source.ts';
import {
  type AdapterChoice,
  type AdapterReport,
  machineMemory,
  reportAdapter,
  requestAdapter,
  requestDevice,
  SUBGROUP_MATRIX,
} from './adapter.ts';
import { kernelFile } from './caller.ts';
import { Failures } from './failures.ts';
import { FAULT_WORDS, faultMemory, indexError } from './faults.ts';
import { type Kernel, type Overrides, PipelineCache } from './pipelines.ts';
import { BufferPool, type PoolStats } from './pool.ts';
import { type Program, Trace } from './program.ts';
import { type Call, type Dispatch, encode, type Groups, Recorder } from './recorder.ts';
import { forEachItem, Scopes } from './scopes.ts';
import { Storage } from './storage.ts';
import { GpuTimer, type KernelTime } from './timer.ts';

/** Optional features that are used when the adapter has them. */
const WANTED_FEATURES = ['timestamp-query', 'shader-f16', 'subgroups', SUBGROUP_MATRIX] as const;

/** Dispatches per submit: enough to hide its cost, few enough that the device starts while more are encoded. */
const DISPATCHES_PER_SUBMIT = 256;
const PARAM_BYTES = 1024 * 256;

/** One kernel launch. `storages` are in the order of the shader's bindings; a last one called `faults` is the engine's. */
export interface Launch {
  readonly storages: readonly Storage<Engine>[];
  readonly params?: ParamValues;
  /** Workgroups in x, y, z. */
  readonly groups: Groups;
  readonly overrides?: Overrides;
  readonly consts?: Consts;
}

/** A launch of a kernel of your own: its WGSL text, or the file it is in. */
export type KernelLaunch = Launch &
  (
    | { readonly code: string; readonly file?: never }
    | {
        /**
         * A path: absolute, from the file that calls `run` (`./scale.wgsl`), or in the package's shaders/; or a URL, such as
         * `new URL('./scale.wgsl', import.meta.url)`, which bundlers understand and which is found faster.
         */
        readonly file: string | URL;
        readonly code?: never;
      }
  );

/** How an engine is created: the adapter, optional features and limits. */
export interface EngineOptions extends AdapterChoice {
  /**
   * Bytes that the engine's buffers may take together; free buffers are destroyed first. Default: no limit beyond the
   * device's; on software drivers three quarters of the machine's memory, since they grant any amount and the process is
   * killed when it uses too much.
   */
  readonly memoryLimit?: number;
}

/**
 * A GPU device with its buffer pool, pipeline cache and recorder. Several engines can live in one process, and in worker
 * threads. A thread must not end while it waits for its engine (`worker.terminate()`, an uncaught error): Dawn then
 * aborts the process. Send it a message that makes it call `dispose`; what it awaits then rejects with `DISPOSED`.
 *
 * Dispatches are recorded and submitted together; reading a tensor submits what is pending. Errors that the device
 * reports later reject the next `sync` or read.
 *
 * While `sync` or a read waits for longer than 2 ms, idle turns of the event loop sleep, for 1 ms at most: Node's binding
 * of Dawn would keep a core busy.
 */
export class Engine extends Scopes {
  readonly device: GPUDevice;
  readonly adapter: AdapterReport;
  readonly #pool: BufferPool;
  readonly #pipelines: PipelineCache;
  readonly #recorder: Recorder;
  readonly #failures = new Failures();
  #pending: Dispatch[] = [];
  #trace: Trace | undefined;
  #timer: GpuTimer | undefined;
  #profiling = false;
  /** Where kernels report indices out of range; made for the first that can. */
  #faults: Storage<Engine> | undefined;

  private constructor(device: GPUDevice, adapter: AdapterReport, memoryLimit: number) {
    super();
    this.device = device;
    this.adapter = adapter;
    this.#pool = new BufferPool(device, {
      limit: memoryLimit,
      // Pending dispatches may use buffers that are free again.
      beforeTrim: () => {
        if (this.#failures.lost === undefined) this.flush();
      },
      onError: (error) => this.#failures.report(error),
    });
    this.#pipelines = new PipelineCache(device, (error) => this.#failures.report(error));
    this.#recorder = new Recorder(device, PARAM_BYTES);
    device.addEventListener('uncapturederror', this.#onUncaptured);
    device.lost.then((info) => {
      if (info.reason === 'destroyed' && this.disposed) return;
      this.#failures.report(
        new EliError('DEVICE_LOST', `the GPU device was lost: ${info.message || info.reason}`, {
          hint: 'create a new engine; an experiment resumes from its last checkpoint with --resume',
        }),
      );
    });
  }

  /**
   * Opens a device with all limits and the optional features of the adapter.
   * @throws EliError `NO_ADAPTER` when there is no usable adapter, `ARGUMENT` for an invalid memory limit.
   */
  static async create(options: EngineOptions = {}): Promise<Engine> {
    const { memoryLimit } = options;
    const rule = { accepts: (bytes: number) => bytes > 0, words: 'a number of bytes above 0' };
    if (memoryLimit !== undefined) checkNumber('memoryLimit', memoryLimit, rule);
    const adapter = await requestAdapter(options);
    const report = reportAdapter(adapter);
    const device = await requestDevice(adapter, WANTED_FEATURES);
    return new Engine(device, report, memoryLimit ?? (report.software ? machineMemory() * 0.75 : Infinity));
  }

  /** Whether `dispose` was called. */
  get disposed(): boolean {
    return this.#failures.disposed;
  }

  /** Whether the device has an optional feature. */
  has(feature: (typeof WANTED_FEATURES)[number]): boolean {
    return this.device.features.has(feature);
  }

  /** The subgroup size (a power of two, 4 to 32) if it is the same for every kernel, else undefined. */
  get subgroupLanes(): number | undefined {
    const { min, max } = this.adapter.subgroup;
    return this.has('subgroups') && min === max && min >= 4 && min <= 32 ? min : undefined;
  }

  /** Buffers and bytes of this engine, now and at their peak. */
  get memory(): PoolStats {
    return this.#pool.stats;
  }

  /** A buffer with undefined contents. @throws EliError `OUT_OF_MEMORY` over the limits of adapter or engine. */
  allocate(bytes: number): Storage<Engine> {
    this.#failures.check();
    return new Storage(this, this.#trace ?? this.#pool, bytes);
  }

  readonly #onUncaptured = (event: Event): void => {
    event.preventDefault();
    const { error } = event as GPUUncapturedErrorEvent;
    const full = error instanceof GPUOutOfMemoryError;
    const code = full ? 'OUT_OF_MEMORY' : 'VALIDATION';
    this.#failures.report(new EliError(code, `the GPU device reported: ${error.message}`));
  };

  // --- dispatch ----------------------------------------------------------------------------------------------

  /**
   * Records one launch of the kernel in `shaders/<file>`, or of one of your own: `run({ code, storages, groups })` with
   * WGSL text, `run({ file, … })`. Its entry point is `main`, its bindings are in group 0.
   * @throws EliError `WGSL` for a missing file or a text that cannot be reflected, `ARGUMENT` for storages or workgroups
   * that do not fit. What the compiler finds rejects the next read or `sync`.
   */
  run(kernel: KernelLaunch): void;
  run(file: string, launch: Launch): void;
  run(what: string | KernelLaunch, given?: Launch): void {
    this.#failures.check();
    if (typeof what === 'string') this.#run(what, given!);
    else this.#run(kernelFile(what), what);
  }

  #run(file: string, launch: Launch): void {
    const kernel = this.#pipelines.get(file, launch.overrides, launch.consts);
    const { params = {}, groups } = launch;
    const bound = kernel.layout.storage;
    const reports = bound.at(-1)?.name === 'faults';
    const storages = reports ? [...launch.storages, this.#faultWords()] : launch.storages;
    if (storages.length !== bound.length) {
      const names = bound.map(({ name }) => name).join(', ');
      throw new EliError(
        'ARGUMENT',
        `${file} binds ${bound.length} storage buffers (${names}), ${storages.length} were given`,
      );
    }
    if (storages.some((storage) => storage.engine !== this)) {
      throw new EliError('WRONG_ENGINE', `${file}: an operand lives on another engine`, {
        hint: 'read it and create it on this engine',
      });
    }
    const buffers = storages.map((s) => s.buffer);
    for (const part of this.#split(kernel, groups)) {
      const call = { kernel, buffers, params: { ...params, ...part.params }, groups: part.groups };
      if (this.#trace !== undefined) this.#trace.add(call, storages);
      else this.#record(call);
    }
  }

  /** Dispatches within the device's limit of workgroups per dimension; `origin` tells a kernel which workgroups they are. */
  #split({ layout }: Kernel, groups: Groups): { groups: Groups; params: ParamValues }[] {
    const limit = this.device.limits.maxComputeWorkgroupsPerDimension;
    const movable = layout.uniform?.fields.some(({ name }) => name === 'origin') === true;
    if (!movable) {
      if (groups.every((n = 1) => n <= limit)) return [{ groups, params: {} }];
      throw new EliError(
        'ARGUMENT',
        `${layout.file}: ${groups.join(' × ')} workgroups are over the limit of ${limit} per dimension`,
      );
    }
    const parts: { groups: Groups; params: ParamValues }[] = [];
    const [nx, ny = 1, nz = 1] = groups;
    for (let z = 0; z < nz; z += limit) {
      for (let y = 0; y < ny; y += limit) {
        for (let x = 0; x < nx; x += limit) {
          const counts = [nx - x, ny - y, nz - z].map((n) => Math.min(n, limit)) as [number, number, number];
          parts.push({ groups: counts, params: { origin: [x, y, z] } });
        }
      }
    }
    return parts;
  }

  #record(call: Call): void {
    const { kernel } = call;
    if (this.#pending.length >= DISPATCHES_PER_SUBMIT) this.flush();
    if (!this.#recorder.hasRoom(kernel)) {
      this.flush();
      this.#recorder.reset();
    }
    this.#pending.push(this.#recorder.record(call));
  }

  /** Submits what is pending. */
  flush(): void {
    if (this.#pending.length === 0) return;
    this.#recorder.upload();
    const pending = this.#pending;
    this.#pending = [];
    this.#submit(pending, 1);
  }

  /** Submits what is pending, then all `dispatches`, `times` times in order: for captured programs. */
  replay(dispatches: readonly Dispatch[], times: number): void {
    this.flush();
    const perSubmit = Math.max(1, Math.floor(DISPATCHES_PER_SUBMIT / Math.max(1, dispatches.length)));
    for (let done = 0; done < times; done += perSubmit) {
      this.#submit(dispatches, Math.min(perSubmit, times - done));
    }
  }

  /** Submits `dispatches`, `times` times in order, as one command buffer. */
  #submit(dispatches: readonly Dispatch[], times: number): void {
    this.#failures.check();
    const encoder = this.device.createCommandEncoder();
    const all = times === 1 ? dispatches : Array.from({ length: times }, () => dispatches).flat();
    encode(encoder, all, this.#timer);
    this.device.queue.submit([encoder.finish()]);
  }

  /**
   * Traces `fn` into a program without running it. Tensors made inside belong to the program; it keeps tensors from
   * outside that it uses alive.
   */
  capture<T>(fn: () => T): Program<T> {
    this.#failures.check();
    if (this.#trace !== undefined) throw new EliError('ARGUMENT', 'engine.capture cannot be nested');
    const trace = new Trace(this.#pool);
    this.#trace = trace;
    try {
      const program = trace.finish(this, this.tidy(fn));
      forEachItem(program.result, (item) => this.untrack(item));
      return program;
    } catch (error) {
      trace.abandon();
      throw error;
    } finally {
      this.#trace = undefined;
    }
  }

  /** Submits what is pending before something that cannot be captured. */
  #submitFor(what: string): void {
    this.#failures.check();
    if (this.#trace !== undefined) {
      throw new EliError('ARGUMENT', `${what} inside engine.capture`, {
        hint: 'a captured function only records dispatches: move it before or after',
      });
    }
    this.flush();
  }

  // --- data --------------------------------------------------------------------------------------------------

  /** Writes `data` at `byteOffset` of a storage, after everything recorded so far. */
  write(storage: Storage<Engine>, byteOffset: number, data: ArrayBufferView<ArrayBuffer>): void {
    this.#submitFor('data is written to a tensor');
    this.device.queue.writeBuffer(storage.buffer, byteOffset, data.buffer, data.byteOffset, data.byteLength);
  }

  /** Reads `bytes` bytes at `byteOffset`, after everything recorded so far. @throws EliError of any earlier failure. */
  async read(storage: Storage<Engine>, byteOffset: number, bytes: number): Promise<ArrayBuffer> {
    this.#submitFor('a tensor is read');
    const staging = this.device.createBuffer({
      size: Math.max(4, bytes),
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    try {
      const encoder = this.device.createCommandEncoder();
      encoder.copyBufferToBuffer(storage.buffer, byteOffset, staging, 0, bytes);
      this.device.queue.submit([encoder.finish()]);
      const mapped = staging.mapAsync(GPUMapMode.READ);
      return await this.#failures.settled(
        'a tensor was read',
        mapped.then(() => staging.getMappedRange(0, bytes).slice(0)),
      );
    } finally {
      staging.destroy();
    }
  }

  /** A new buffer, which is zeros: outside the pool, as it lives as long as the engine. */
  #faultWords(): Storage<Engine> {
    this.#faults ??= new Storage(this, faultMemory(this.device), 4 * FAULT_WORDS);
    return this.#faults;
  }

  /**
   * Waits for everything recorded so far. Kernels leave out what an index or label out of range refers to; this reports it.
   * A training loop calls it whenever it reads its losses.
   * @throws EliError `INDEX` naming the op, the first index out of range since the last call, and the training step
   */
  async checkIndices(): Promise<void> {
    const faults = this.#faults;
    if (faults === undefined) return;
    const error = indexError(new Uint32Array(await this.read(faults, 0, 4 * FAULT_WORDS)));
    if (error === undefined) return;
    this.device.queue.writeBuffer(faults.buffer, 0, new Uint32Array(FAULT_WORDS));
    throw error;
  }

  /** Submits what is pending and waits until the device has done it. @throws EliError of any failure so far. */
  async sync(): Promise<void> {
    this.#submitFor('the engine is awaited');
    await this.#failures.settled('the work was done', this.device.queue.onSubmittedWorkDone());
  }

  /**
   * GPU time of each kernel that `fn` launches (at most 2,048 dispatches), longest first.
   * @throws EliError `ARGUMENT` when the adapter has no timestamp queries, or inside another `profile`.
   */
  async profile(fn: () => void | Promise<void>): Promise<KernelTime[]> {
    if (!this.has('timestamp-query')) {
      throw new EliError('ARGUMENT', `${this.adapter.name} has no timestamp queries`, {
        hint: 'use wall time',
      });
    }
    if (this.#profiling) throw new EliError('ARGUMENT', 'engine.profile while another profile is running');
    this.#profiling = true;
    let timer: GpuTimer | undefined;
    try {
      await this.sync();
      timer = new GpuTimer(this.device);
      this.#timer = timer;
      await fn();
      await this.sync();
      this.#timer = undefined;
      return await this.#failures.settled('the times were read', timer.finish(this.device));
    } finally {
      this.#profiling = false;
      this.#timer = undefined;
      timer?.dispose();
    }
  }

  /** Destroys the device and everything on it; Node can then exit by itself. Calling it twice is allowed. */
  dispose(): void {
    if (this.disposed) return;
    this.#failures.disposed = true;
    this.#pending = [];
    this.#pool.dispose();
    this.device.destroy();
    // Dawn's list of listeners is a root of the garbage collector: it would keep this engine alive forever.
    this.device.removeEventListener('uncapturederror', this.#onUncaptured);
  }

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}
