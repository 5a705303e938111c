import type { Engine } from '../gpu/engine.ts';
import { full } from '../tensor/create.ts';
import { type RandomSource, randomNormal, randomUniform } from '../tensor/random.ts';
import type { Shape } from '../tensor/shape.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';

/**
 * Makes parameters, which live until they are disposed, also inside `engine.tidy`. Each random one has its own stream, in
 * the order in which layers are made.
 */
export class Initializer {
  readonly engine: Engine;
  readonly seed: number;
  #stream: number;

  constructor(engine: Engine, seed: number, firstStream: number = STREAM.weights) {
    this.engine = engine;
    this.seed = seed;
    this.#stream = firstStream;
  }

  /** A parameter uniform in ±bound. */
  uniform(shape: Shape, bound: number): Tensor {
    return this.#parameter(randomUniform(this.engine, shape, this.#nextSource(), -bound, bound));
  }

  /** A parameter with mean 0 and the given standard deviation. */
  normal(shape: Shape, std: number): Tensor {
    return this.#parameter(randomNormal(this.engine, shape, this.#nextSource(), 0, std));
  }

  /** A parameter with the same value everywhere. */
  constant(shape: Shape, value: number): Tensor {
    return this.#parameter(full(this.engine, shape, value));
  }

  #nextSource(): RandomSource {
    return { seed: this.seed, stream: this.#stream++ };
  }

  #parameter(values: Tensor): Tensor {
    values.requiresGrad = true;
    return this.engine.keep(values);
  }
}
