import { Engine } from '../../src/gpu/engine.ts';

let shared: Promise<Engine> | undefined;

/**
 * One engine for all tests of a file; `closeEngine` in `test.after` lets the process end. With `npm test -- --as gpu`
 * the engine takes a software driver for a GPU, and so the kernels and tiles that it takes there.
 */
export function openEngine(): Promise<Engine> {
  shared ??= create();
  return shared;
}

async function create(): Promise<Engine> {
  // Nothing is taken back when garbage is collected: what tests read from `memory` must not depend on when that happens,
  // and a leak must stay one.
  const { FinalizationRegistry: real } = globalThis;
  const none = class {
    register(): void {}
    unregister(): void {}
  };
  Object.assign(globalThis, { FinalizationRegistry: none });
  try {
    const engine = await Engine.create();
    if (process.env.ELI_TEST_AS === 'gpu') Object.assign(engine.adapter, { software: false });
    return engine;
  } finally {
    Object.assign(globalThis, { FinalizationRegistry: real });
  }
}

export async function closeEngine(): Promise<void> {
  (await shared)?.dispose();
  shared = undefined;
}
