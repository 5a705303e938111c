import { noGrad } from '../autograd/tape.ts';
import type { Engine } from '../gpu/engine.ts';
import { copyInto } from '../ops/views.ts';
import { empty, tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { TrainingSamples } from './samples.ts';

/** Samples per launch. */
const CHUNK = 4096;

/** u32 [end − first] on the device: first, first + 1, …, end − 1. */
export function rangeTensor(engine: Engine, first: number, end: number): Tensor {
  return tensor(
    engine,
    Uint32Array.from({ length: end - first }, (_, i) => first + i),
  );
}

/**
 * `map` of the inputs of all samples in their order, without augmentation: [count, …], not recorded, kept until
 * disposed. `map` takes inputs [n, …] to [n, d], such as the pooled features of a network.
 */
export function forAllSamples(
  engine: Engine,
  samples: Pick<TrainingSamples, 'count' | 'inputs'>,
  map: (inputs: Tensor) => Tensor,
): Tensor {
  const { count } = samples;
  return engine.tidy(() =>
    noGrad(engine, () => {
      let out: Tensor | undefined;
      for (let first = 0; first < count; first += CHUNK) {
        engine.tidy(() => {
          const values = map(samples.inputs(rangeTensor(engine, first, Math.min(first + CHUNK, count))));
          out ??= engine.keep(empty(engine, [count, ...values.shape.slice(1)]));
          copyInto(values, out, out.strides, first * (out.size / count));
        });
      }
      return out!;
    }),
  );
}
