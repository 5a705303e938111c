import { create, globals } from 'webgpu';
import { EliError } from '../errors.ts';

/**
 * Dawn instances of this process by adapter name and flags. One instance an adapter name, kept for the life of the process:
 * creating and dropping them leaks, and many devices can share one.
 */
const instances = new Map<string, GPU>();

/**
 * The Dawn instance whose adapters are limited to names containing `adapterName` ('' for all of them), and which offers
 * experimental features if wanted. Its devices do not check the bounds of buffers in shaders where the variable
 * ELI_ROBUSTNESS is `off`.
 * @throws EliError `NO_ADAPTER` when Dawn cannot be started.
 */
export function dawn(adapterName: string, experimental = false): GPU {
  const key = `${experimental}|${adapterName}`;
  let gpu = instances.get(key);
  if (gpu === undefined) {
    Object.assign(globalThis, globals);
    const flags = [
      // Timestamps as the driver gives them: kernels are timed here, and there is no web page to guard against.
      'disable-dawn-features=timestamp_quantization',
    ];
    const enabled: string[] = [];
    // Kernels guard their own loads and stores; without Dawn's checks a test finds those that do not.
    if (process.env.ELI_ROBUSTNESS === 'off') enabled.push('disable_robustness');
    if (experimental) enabled.push('allow_unsafe_apis');
    if (enabled.length > 0) flags.push(`enable-dawn-features=${enabled.join()}`);
    // Dawn also offers a null back end that computes nothing; naming the real one keeps it out.
    if (process.platform === 'linux') flags.push('backend=vulkan');
    if (adapterName !== '') flags.push(`adapter=${adapterName}`);
    try {
      gpu = create(flags);
    } catch (cause) {
      throw new EliError(
        'NO_ADAPTER',
        `Dawn could not be started: ${String((cause as Error).message ?? cause)}`,
        { hint: 'is the npm package webgpu installed for this platform?', cause },
      );
    }
    instances.set(key, gpu);
  }
  return gpu;
}
