import { create, globals } from 'webgpu';
import { reportAdapter } from '../../src/gpu/adapter.ts';
import { Engine } from '../../src/gpu/engine.ts';

/** A GPU that this machine has not. */
export interface NullGpu {
  /** Smallest and largest subgroup in invocations. */
  readonly subgroup: { readonly min: number; readonly max: number };
  readonly features: readonly GPUFeatureName[];
}

let dawn: GPU | undefined;

/**
 * An engine that takes Dawn's null back end for this GPU: it checks kernels, pipelines, bindings and limits as for any
 * device, and computes nothing. Limits are those that the standard promises.
 */
export async function nullEngine({ subgroup, features }: NullGpu): Promise<Engine> {
  Object.assign(globalThis, globals);
  dawn ??= create(['backend=null']);
  const adapter = await dawn.requestAdapter();
  if (adapter === null) throw new Error('Dawn has no null back end');
  const device = await adapter.requestDevice({ requiredFeatures: [...features] });
  const report = { ...reportAdapter(adapter), software: false, subgroup };
  // Users get no engine on this back end.
  const Constructor = Engine as unknown as new (...values: [GPUDevice, typeof report, number]) => Engine;
  return new Constructor(device, report, Infinity);
}
