import type { Engine } from '../gpu/engine.ts';
import { randomNormal, randomUniform } from '../tensor/random.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Gives every parameter its own random stream, in the order in which layers are made. */
export class Initializer {
  readonly engine: Engine;
  readonly seed: number;
  #stream: number;

  constructor(engine: Engine, seed: number, firstStream = 0) {
    this.engine = engine;
    this.seed = seed;
    this.#stream = firstStream;
  }

  /** A parameter uniform in ±bound. */
  uniform(shape: Shape, bound: number): Tensor {
    return this.#parameter(randomUniform, shape, -bound, bound);
  }

  /** A parameter with mean 0 and the given standard deviation. */
  normal(shape: Shape, std: number): Tensor {
    return this.#parameter(randomNormal, shape, 0, std);
  }

  #parameter(draw: typeof randomUniform, shape: Shape, ...range: [number, number]): Tensor {
    const parameter = draw(this.engine, shape, { seed: this.seed, stream: this.#stream++ }, ...range);
    parameter.requiresGrad = true;
    return parameter;
  }
}
