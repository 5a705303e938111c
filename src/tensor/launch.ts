import type { Engine, Launch } from '../gpu/engine.ts';

/** Workgroup size of kernels with one invocation per element. */
const WORKGROUP = 64;

/**
 * Launches a kernel with one invocation per element, over as many dimensions of workgroups as the limits require. The
 * kernel finds its element with `flat_index` of lib/index.wgsl.
 */
export function launch1d(
  engine: Engine,
  file: string,
  invocations: number,
  launch: Omit<Launch, 'groups'>,
): void {
  const groups = Math.ceil(invocations / WORKGROUP);
  const x = Math.min(groups, 32768);
  engine.run(file, { ...launch, groups: [x, Math.ceil(groups / x)] });
}
