import type { Engine } from '../gpu/engine.ts';
import { randomNormal, randomUniform } from '../tensor/random.ts';
import type { Shape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Hands every parameter a random stream of its own, in the order in which layers are made. */
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
    const parameter = randomUniform(
      this.engine,
      shape,
      { seed: this.seed, stream: this.#stream++ },
      -bound,
      bound,
    );
    parameter.requiresGrad = true;
    return parameter;
  }

  /** A parameter with mean 0 and the given standard deviation. */
  normal(shape: Shape, std: number): Tensor {
    const parameter = randomNormal(this.engine, shape, { seed: this.seed, stream: this.#stream++ }, 0, std);
    parameter.requiresGrad = true;
    return parameter;
  }
}
