import type { Engine } from '../gpu/engine.ts';
import type { Tensor } from './tensor.ts';

/** Tensors that live across awaits, where `engine.tidy` cannot reach, and are disposed of together. */
export class TensorScope {
  readonly #engine: Engine;
  readonly #owned: Tensor[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** The new tensor that `make` returns, until `dispose`; what was made on the way is freed at once. */
  own(make: () => Tensor): Tensor {
    const made = this.#engine.tidy(make);
    this.#owned.push(made);
    return made;
  }

  dispose(): void {
    for (const t of this.#owned) t.dispose();
  }
}
