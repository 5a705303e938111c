import { EliError } from '../errors.ts';
import { dawn } from './instance.ts';

export interface AdapterChoice {
  /** Part of an adapter's name, such as `llvmpipe` or `H100`. Default: the variable ELI_ADAPTER, else the best GPU. */
  readonly adapter?: string;
}

/** What is known of an adapter; `software` is true for drivers that compute on the CPU. */
export interface AdapterReport {
  readonly name: string;
  readonly vendor: string;
  readonly architecture: string;
  readonly driver: string;
  readonly software: boolean;
  /** Smallest and largest subgroup (wave, warp) size in invocations; 0 where subgroups are not offered. */
  readonly subgroup: { readonly min: number; readonly max: number };
  readonly features: readonly string[];
}

/**
 * Requests an adapter.
 * @throws EliError `NO_ADAPTER` when there is none, none of that name, or only Dawn's null back end.
 */
export async function requestAdapter(choice: AdapterChoice = {}): Promise<GPUAdapter> {
  const name = choice.adapter ?? process.env.ELI_ADAPTER ?? '';
  const gpu = dawn(name);
  let adapter: GPUAdapter | null;
  try {
    adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
  } catch (cause) {
    throw noAdapter(name, cause);
  }
  if (adapter === null || isNull(adapter)) throw noAdapter(name);
  return adapter;
}

function isNull(adapter: GPUAdapter): boolean {
  return /null/i.test(adapter.info.description) && adapter.info.vendor === '';
}

function noAdapter(name: string, cause?: unknown): EliError {
  return name === ''
    ? new EliError('NO_ADAPTER', 'no usable GPU adapter was found', {
        hint: 'install a Vulkan driver, or let `npm start` / `npm test` set up a software one; `npx eli doctor` says what is missing',
        cause,
      })
    : new EliError('NO_ADAPTER', `no adapter has "${name}" in its name`, {
        hint: `leave out --adapter and ELI_ADAPTER to take the best one. Dawn says: ${String((cause as Error | undefined)?.message ?? 'nothing')}`,
        cause,
      });
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
    features: [...adapter.features].map(String).sort(),
  };
}
