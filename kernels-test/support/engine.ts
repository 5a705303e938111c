import { Engine } from '../../src/gpu/engine.ts';

let shared: Promise<Engine> | undefined;

/**
 * One engine for all tests of a file; `closeEngine` in `test.after` lets the process end. With `npm test -- --as gpu`
 * the engine takes a software driver for a GPU, and so the kernels and tiles that it takes there.
 */
export function openEngine(): Promise<Engine> {
  shared ??= Engine.create().then((engine) => {
    if (process.env.ELI_TEST_AS === 'gpu') Object.assign(engine.adapter, { software: false });
    return engine;
  });
  return shared;
}

export async function closeEngine(): Promise<void> {
  (await shared)?.dispose();
  shared = undefined;
}
