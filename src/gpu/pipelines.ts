import { EliError } from '../errors.ts';
import { getOrInsert } from '../maps.ts';
import type { Binding } from '../wgsl/interface.ts';
import { type KernelLayout, reflectShader } from '../wgsl/reflect.ts';
import { type Consts, loadShader, originOf, type ShaderSource } from '../wgsl/source.ts';

/** A compiled variant of a kernel: a shader file with its consts and overrides fixed. */
export interface Kernel {
  readonly label: string;
  readonly layout: KernelLayout;
  /** Bytes that its params take in a uniform buffer: a multiple of the alignment of offsets. */
  readonly slotBytes: number;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroupLayout: GPUBindGroupLayout;
}

export type Overrides = Readonly<Record<string, number>>;

/** Compiles kernels once and keeps them by (file, consts, overrides). Compile errors are reported to `onError`. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #onError: (error: EliError) => void;
  readonly #kernels = new Map<string, Kernel>();

  constructor(device: GPUDevice, onError: (error: EliError) => void) {
    this.#device = device;
    this.#onError = onError;
  }

  /** @throws EliError `WGSL` for a missing file, an unknown override, or a text that cannot be reflected. */
  get(file: string, overrides: Overrides = {}, consts: Consts = {}): Kernel {
    const key = `${file}|${JSON.stringify(overrides)}|${JSON.stringify(consts)}`;
    return getOrInsert(this.#kernels, key, () =>
      this.#compile(key, loadShader(file, consts), overrides, consts),
    );
  }

  #compile(key: string, source: ShaderSource, overrides: Overrides, consts: Consts): Kernel {
    const device = this.#device;
    const layout = reflectShader(source);
    const unknown = Object.keys(overrides).find((name) => !layout.overrides.has(name));
    if (unknown !== undefined) throw new EliError('WGSL', `${source.file} declares no override ${unknown}`);
    const chosen = Object.entries({ ...overrides, ...consts }).map(([k, v]) => `${k}=${v}`);
    const label = chosen.length === 0 ? source.file : `${source.file}[${chosen.join(' ')}]`;

    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: source.code, label });
    const { storage, uniform } = layout;
    const built = createPipeline(device, label, uniform === undefined ? storage : [...storage, uniform], {
      module,
      entryPoint: 'main',
      constants: { ...overrides },
    });
    // Errors arrive after the call that caused them: they go to the engine, which rejects the next read.
    Promise.all([device.popErrorScope(), module.getCompilationInfo()]).then(
      ([error, info]) => {
        if (error === null) return;
        // Not kept: the next launch compiles it again and reports the error again.
        this.#kernels.delete(key);
        this.#onError(compileError(source, error, info));
      },
      // A device that is lost meanwhile reports itself through its own promise.
      () => undefined,
    );
    const align = device.limits.minUniformBufferOffsetAlignment;
    const slotBytes = Math.ceil((uniform?.size ?? 0) / align) * align;
    return { layout, slotBytes, ...built };
  }
}

/** A compute pipeline whose bind group 0 has these buffers. */
export function createPipeline(
  device: GPUDevice,
  label: string,
  bindings: readonly Binding[],
  compute: GPUProgrammableStage,
) {
  const entries = bindings.map(({ binding, kind, writable, size }): GPUBindGroupLayoutEntry => {
    const type = kind === 'uniform' ? kind : writable ? 'storage' : 'read-only-storage';
    return { binding, visibility: GPUShaderStage.COMPUTE, buffer: { type, minBindingSize: size } };
  });
  const bindGroupLayout = device.createBindGroupLayout({ entries, label });
  const layout = device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout] });
  return { label, bindGroupLayout, pipeline: device.createComputePipeline({ label, layout, compute }) };
}

/** What the compiler reports, with the file, line and column in the shader files. */
export function compileError(source: ShaderSource, error: GPUError, info: GPUCompilationInfo): EliError {
  const messages = info.messages.filter((m) => m.type === 'error');
  if (messages.length === 0) return new EliError('WGSL', `${source.file}: ${error.message}`);
  const lines = messages.map((m) => `${originOf(source, m.lineNum)}:${m.linePos}: ${m.message}`);
  return new EliError('WGSL', lines.join('\n'), {
    hint: 'the numbers are line and column in the shader file',
  });
}
