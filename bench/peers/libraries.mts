// The libraries, started once: ours and the peers share the adapter's Dawn instance.
import { dawn } from '../../src/gpu/adapter.ts';
import { Engine } from '../../src/index.ts';
import { startTorch, type Torch } from './torch.mts';

/** Their types are not installed with this project. */
// biome-ignore lint/suspicious/noExplicitAny: see above
export type Untyped = any;
const load = (name: string): Promise<Untyped> => import(name);

/** jax-js on one of its back ends. */
export interface Jax {
  readonly library: string;
  readonly lib: Untyped;
  /** Makes this back end the one that new arrays and programs are on. */
  readonly use: () => Promise<void>;
  readonly array: (data: Float32Array, shape: readonly number[]) => Untyped;
  /** Calls a function that makes arrays so many times, and waits for all that it makes. */
  readonly repeat: (times: number, make: () => Untyped[]) => Promise<void>;
}

/** TensorFlow.js on one of its back ends. */
export interface TensorFlow {
  readonly library: string;
  readonly tf: Untyped;
  readonly use: () => Promise<void>;
}

export interface Libraries {
  readonly engine: Engine;
  readonly jaxGpu: Jax;
  readonly jaxWasm: Jax;
  readonly tfGpu: TensorFlow;
  readonly tfWasm: TensorFlow;
  /** Undefined where there is no Python with PyTorch. */
  readonly torch: Torch | undefined;
}

/** Results that wait for each other, so that a wait costs little and memory stays small. */
const KEPT = 16;

export const OURS = 'eli-webgpu';

async function startJax(backend: 'webgpu' | 'wasm'): Promise<Jax> {
  const lib = await load('@jax-js/jax');
  await lib.init(backend);
  return {
    library: `@jax-js/jax ${backend}`,
    lib,
    use: async () => lib.defaultDevice(backend),
    array: (data, shape) => lib.numpy.array(data).reshape(shape),
    repeat: async (times, make) => {
      // What is freed before it was waited for may never be computed: arrays are kept until then.
      for (let left = times; left > 0; left -= KEPT) {
        const made = Array.from({ length: Math.min(left, KEPT) }, make).flat();
        await lib.blockUntilReady(made);
        for (const array of made) array.dispose();
      }
    },
  };
}

async function startTensorFlow(backend: 'webgpu' | 'wasm'): Promise<TensorFlow> {
  const tf = await load('@tensorflow/tfjs');
  await load(`@tensorflow/tfjs-backend-${backend}`);
  return {
    library: `tfjs-backend-${backend}`,
    tf,
    use: async () => {
      if (!(await tf.setBackend(backend))) throw new Error(`TensorFlow.js has no back end ${backend}`);
    },
  };
}

export async function startLibraries(): Promise<Libraries> {
  const engine = await Engine.create();
  // The peers look where a browser has it. Its name limits the instance to the same adapter as ours.
  Object.defineProperty(globalThis, 'navigator', {
    value: { gpu: dawn(process.env.ELI_ADAPTER ?? ''), userAgent: 'node', platform: 'node' },
  });
  return {
    engine,
    jaxGpu: await startJax('webgpu'),
    jaxWasm: await startJax('wasm'),
    tfGpu: await startTensorFlow('webgpu'),
    tfWasm: await startTensorFlow('wasm'),
    torch: await startTorch(),
  };
}
