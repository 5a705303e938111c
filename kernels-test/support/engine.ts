import { Engine } from '../../src/gpu/engine.ts';

let shared: Promise<Engine> | undefined;

/** One engine for all tests of a file; `closeEngine` in `test.after` lets the process end. */
export function openEngine(): Promise<Engine> {
  shared ??= Engine.create();
  return shared;
}

export async function closeEngine(): Promise<void> {
  (await shared)?.dispose();
  shared = undefined;
}
