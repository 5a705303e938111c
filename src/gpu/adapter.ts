import { totalmem } from 'node:os';
import { create, globals } from 'webgpu';
import { EliError } from '../errors.ts';
import { getOrInsert } from '../maps.ts';

/** Which adapter an engine uses. */
export interface AdapterChoice {
  /**
   * Part of an adapter's name, such as `llvmpipe` or `H100`. Default: the environment variable ELI_ADAPTER, else the best
   * GPU.
   */
  readonly adapter?: string | undefined;
  /**
   * Whether to use subgroup matrices (tensor cores) where the device has them: an experimental feature of Dawn. Variants
   * that use them are chosen once the autotuner has found them correct and fastest. Default: whether the environment
   * variable ELI_SUBGROUP_MATRICES is `on`.
   */
  readonly subgroupMatrices?: boolean;
}

/** A matrix product that a subgroup computes in one instruction: M × K by K × N. */
export interface SubgroupMatrix {
  /** Types of the operands and of the result, such as `f16` and `f32`. */
  readonly componentType: string;
  readonly resultComponentType: string;
  readonly M: number;
  readonly N: number;
  readonly K: number;
}

/** What is known about an adapter; `software` is true for drivers that compute on the CPU. */
export interface AdapterReport {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: string;
  readonly software: boolean;
  /** Smallest and largest subgroup (wave, warp) size in invocations; 0 without subgroups. */
  readonly subgroup: { readonly min: number; readonly max: number };
  /** Supported products of subgroup matrices; empty unless they were requested. */
  readonly subgroupMatrices: readonly SubgroupMatrix[];
  readonly features: readonly string[];
}

/** Not in the standard yet; present only where experimental features were requested. */
export const SUBGROUP_MATRIX = 'chromium-experimental-subgroup-matrix';

/**
 * Dawn instances of this process by their flags, kept for its lifetime: creating and dropping them leaks, and many
 * devices can share one.
 */
const instances = new Map<string, GPU>();

/**
 * The Dawn instance whose adapters have `adapterName` in their names ('' for all of them), with experimental features
 * if wanted. Where the environment variable ELI_ROBUSTNESS is `off`, shaders run without Dawn's bounds checks.
 * @throws EliError `NO_ADAPTER` when Dawn cannot be started.
 */
export function dawn(adapterName: string, experimental = false): GPU {
  // Kernels guard their own loads and stores; without Dawn's checks a test finds those that do not.
  const enabled = process.env.ELI_ROBUSTNESS === 'off' ? ['disable_robustness'] : [];
  if (experimental) enabled.push('allow_unsafe_apis');
  // Timestamps as the driver gives them: kernels are timed here, and there is no web page to guard against.
  const flags = ['disable-dawn-features=timestamp_quantization'];
  if (enabled.length > 0) flags.push(`enable-dawn-features=${enabled.join()}`);
  // Dawn also offers a null back end that computes nothing; naming the real one keeps it out.
  if (process.platform === 'linux') flags.push('backend=vulkan');
  if (adapterName !== '') flags.push(`adapter=${adapterName}`);
  Object.assign(globalThis, globals);
  try {
    return getOrInsert(instances, flags.join('|'), () => create(flags));
  } catch (cause) {
    const message = `Dawn could not be started: ${String((cause as Error).message ?? cause)}`;
    throw new EliError('NO_ADAPTER', message, {
      hint: 'is the npm package webgpu installed for this platform?',
      cause,
    });
  }
}

/** @throws EliError `NO_ADAPTER` when there is none, none of that name, or only Dawn's null back end. */
export async function requestAdapter(choice: AdapterChoice): Promise<GPUAdapter> {
  const name = choice.adapter ?? process.env.ELI_ADAPTER ?? '';
  const experimental = choice.subgroupMatrices ?? process.env.ELI_SUBGROUP_MATRICES === 'on';
  const gpu = dawn(name, experimental);
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch (cause) {
    throw noAdapter(name, cause);
  }
  const isNull = adapter !== null && /null/i.test(adapter.info.description) && adapter.info.vendor === '';
  if (adapter === null || isNull) throw noAdapter(name);
  return adapter;
}

function noAdapter(name: string, cause?: unknown): EliError {
  if (name === '') {
    return new EliError('NO_ADAPTER', 'no usable GPU adapter was found', {
      hint: 'install a Vulkan driver; on Linux `node src/cli/setup.mjs` in the folder of this package installs a software one',
      cause,
    });
  }
  const said = String((cause as Error | undefined)?.message ?? 'nothing');
  return new EliError('NO_ADAPTER', `no adapter has "${name}" in its name`, {
    hint: `leave out --adapter and ELI_ADAPTER to use the best one. Dawn says: ${said}`,
    cause,
  });
}

/**
 * Opens a device with every limit of the adapter, and those of `features` that it has.
 * @throws EliError `NO_ADAPTER` when the adapter provides no device.
 */
export async function requestDevice(adapter: GPUAdapter, features: readonly string[]): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) {
    const value = adapter.limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') requiredLimits[name] = value;
  }
  const requiredFeatures = features.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  try {
    return await adapter.requestDevice({ requiredLimits, requiredFeatures });
  } catch (cause) {
    throw new EliError('NO_ADAPTER', `${adapter.info.device} provides no device: ${String(cause)}`, {
      hint: 'is its memory used up? `npx eli doctor` shows what the engine finds',
      cause,
    });
  }
}

/** Bytes of memory that this process may use at most: the machine's, or its container's. */
export function machineMemory(): number {
  // Without a limit, this is 0 or a number larger than the machine's memory.
  const container = process.constrainedMemory();
  return container > 0 ? Math.min(container, totalmem()) : totalmem();
}

export function reportAdapter(adapter: GPUAdapter): AdapterReport {
  const info = adapter.info;
  return {
    name: info.device,
    vendor: info.vendor,
    architecture: info.architecture,
    driver: info.description,
    software:
      info.architecture === 'software' ||
      /llvmpipe|swiftshader|software/i.test(`${info.device} ${info.description}`),
    subgroup: adapter.features.has('subgroups')
      ? { min: info.subgroupMinSize ?? 0, max: info.subgroupMaxSize ?? 0 }
      : { min: 0, max: 0 },
    subgroupMatrices: adapter.features.has(SUBGROUP_MATRIX)
      ? ((info as { subgroupMatrixConfigs?: readonly SubgroupMatrix[] }).subgroupMatrixConfigs ?? [])
      : [],
    features: [...adapter.features].map(String).sort(),
  };
}
