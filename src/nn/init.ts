import type { Engine } from '../gpu/engine.ts';
import { randomUniform } from '../tensor/random.ts';
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
}
