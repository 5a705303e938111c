// A chain of ops that each wait for the one before, on few numbers: what an op costs beside its work. On fewer than 1,000
// TensorFlow.js would compute on the CPU.
import { add, randomNormal, tensor } from '../../src/index.ts';
import type { Comparison, Contender } from './compare.mts';
import { type Jax, type Libraries, OURS, type TensorFlow } from './libraries.mts';

const [SIZE, LENGTH] = [2048, 100];

type Start = Float32Array<ArrayBuffer>;

async function jaxChain({ library, use, array, repeat }: Jax, start: Start): Promise<Contender> {
  await use();
  const x = array(start, [SIZE]);
  // Not compiled as one program, which would make one kernel of all.
  const chain = () => {
    let y = x.ref;
    for (let i = 0; i < LENGTH; i++) y = y.add(1);
    return y;
  };
  return {
    library,
    run: async (times) => {
      await use();
      await repeat(times, () => [chain()]);
    },
    result: async () => {
      await use();
      return [await chain().data()];
    },
  };
}

async function tfChain({ library, tf, use }: TensorFlow, start: Start): Promise<Contender> {
  await use();
  const x = tf.tensor(start, [SIZE]);
  const chain = () =>
    tf.tidy(() => {
      let y = x;
      for (let i = 0; i < LENGTH; i++) y = tf.add(y, 1);
      return y;
    });
  const last = async (times: number): Promise<Float32Array> => {
    await use();
    for (let k = 1; k < times; k++) chain().dispose();
    const y = chain();
    const values = await y.data();
    y.dispose();
    return values;
  };
  return {
    library,
    run: async (times) => {
      await last(times);
    },
    result: async () => [await last(1)],
  };
}

export async function chainComparison(libraries: Libraries): Promise<Comparison> {
  const { engine, torch } = libraries;
  const start = await randomNormal(engine, [SIZE], { seed: 1 }).readFloats();
  const x = tensor(engine, start, [SIZE]);
  const chain = () => {
    let y = x;
    for (let i = 0; i < LENGTH; i++) y = add(y, 1);
    return y;
  };
  const captured = async (): Promise<Contender> => {
    const program = engine.capture(chain);
    return {
      library: `${OURS}, captured`,
      run: async (times) => {
        program.run(times);
        await engine.sync();
      },
      result: async () => {
        program.run();
        return [await program.result.readFloats()];
      },
    };
  };
  const eager = async (): Promise<Contender> => ({
    library: `${OURS}, eager`,
    run: async (times) => {
      for (let k = 0; k < times; k++) engine.tidy(() => void chain());
      await engine.sync();
    },
    result: async () => {
      const y = engine.tidy(chain);
      const values = await y.readFloats();
      y.dispose();
      return [values];
    },
  });
  return {
    name: 'a dependent op',
    unit: 'µs',
    figure: (ms) => (1000 * ms) / LENGTH,
    expected: () => [Float64Array.from(start, (v) => v + LENGTH)],
    tolerance: 1e-5,
    contenders: [
      captured,
      eager,
      () => jaxChain(libraries.jaxGpu, start),
      () => jaxChain(libraries.jaxWasm, start),
      () => tfChain(libraries.tfGpu, start),
      () => tfChain(libraries.tfWasm, start),
      async () =>
        torch?.contender({
          library: 'PyTorch CPU',
          task: 'chain',
          options: { length: LENGTH },
          inputs: { x: { data: start, shape: [SIZE] } },
        }),
    ],
  };
}
