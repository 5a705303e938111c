import { EliError } from '../errors.ts';
import { type KernelLayout, reflectShader } from '../wgsl/reflect.ts';
import { type Consts, loadShader, originOf, type ShaderSource } from '../wgsl/source.ts';

/** A compiled variant of a kernel: a shader file with its consts and overrides fixed. */
export interface Kernel {
  readonly file: string;
  readonly label: string;
  readonly layout: KernelLayout;
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
    let kernel = this.#kernels.get(key);
    if (kernel === undefined) {
      kernel = this.#compile(key, loadShader(file, consts), overrides, consts);
      this.#kernels.set(key, kernel);
    }
    return kernel;
  }

  #compile(key: string, source: ShaderSource, overrides: Overrides, consts: Consts): Kernel {
    const device = this.#device;
    const layout = reflectShader(source);
    for (const name of Object.keys(overrides)) {
      if (!layout.overrides.has(name))
        throw new EliError('WGSL', `${source.file} declares no override ${name}`);
    }
    const chosen = Object.entries({ ...overrides, ...consts }).map(([k, v]) => `${k}=${v}`);
    const label = chosen.length === 0 ? source.file : `${source.file}[${chosen.join(' ')}]`;

    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: source.code, label });
    const entries: GPUBindGroupLayoutEntry[] = layout.storage.map((s) => ({
      binding: s.binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: s.writable ? 'storage' : 'read-only-storage' },
    }));
    if (layout.uniform !== undefined) {
      entries.push({
        binding: layout.uniform.binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: 'uniform', minBindingSize: layout.uniform.size },
      });
    }
    const bindGroupLayout = device.createBindGroupLayout({ entries, label });
    const pipeline = device.createComputePipeline({
      label,
      layout: device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout] }),
      compute: { module, entryPoint: 'main', constants: { ...overrides } },
    });
    this.#report(key, source, module, device.popErrorScope());
    return { file: source.file, label, layout, pipeline, bindGroupLayout };
  }

  /** Errors arrive later than the call that caused them: they go to the engine, which rejects what is read next. */
  #report(key: string, source: ShaderSource, module: GPUShaderModule, scope: Promise<GPUError | null>): void {
    const failed = async (): Promise<void> => {
      const [error, info] = await Promise.all([scope, module.getCompilationInfo()]);
      if (error === null) return;
      // Not kept: the next launch compiles it again and reports the error again.
      this.#kernels.delete(key);
      this.#onError(compileError(source, error, info));
    };
    // A device that is lost meanwhile reports itself through its own promise.
    failed().catch(() => undefined);
  }
}

/** What the compiler says, with the file, line and column that it means. */
export function compileError(source: ShaderSource, error: GPUError, info: GPUCompilationInfo): EliError {
  const messages = info.messages.filter((m) => m.type === 'error');
  const text =
    messages.length === 0
      ? `${source.file}: ${error.message}`
      : messages.map((m) => `${originOf(source, m.lineNum)}:${m.linePos}: ${m.message}`).join('\n');
  return new EliError('WGSL', text, {
    ...(messages.length > 0 ? { hint: 'the numbers are line and column in the shader file' } : {}),
  });
}
