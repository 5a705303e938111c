import type { Engine } from '../../gpu/engine.ts';

/**
 * How a kernel that reduces rows is laid out: THREADS invocations per row, ROWS rows per workgroup. Short rows get one
 * invocation each, long ones a workgroup unless there are enough rows to fill the device.
 */
export function rowLayout(
  engine: Engine,
  rows: number,
  length: number,
): { overrides: { THREADS: number; ROWS: number }; groups: [number, number] } {
  const { software } = engine.adapter;
  const plenty = software ? rows >= 16 : rows >= 16384;
  // On a software device a barrier takes as long as a few hundred additions.
  const threads = length <= (software ? 512 : 32) || plenty ? 1 : length <= 1024 ? 64 : 256;
  const rowsPerGroup = threads === 1 ? (software ? 8 : 64) : 1;
  const count = Math.ceil(rows / rowsPerGroup);
  const x = Math.min(count, 32768);
  return { overrides: { THREADS: threads, ROWS: rowsPerGroup }, groups: [x, Math.ceil(count / x)] };
}
