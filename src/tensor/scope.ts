import type { Engine } from '../gpu/engine.ts';
import type { Tensor } from './tensor.ts';

/** What is disposed of when the work of `withScope` ends. */
export class Scope {
  readonly #engine: Engine;
  readonly #items: { dispose(): void }[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  add<T extends { dispose(): void }>(item: T): T {
    this.#items.push(item);
    return item;
  }

  /** Adds the new tensor that `make` returns; intermediate tensors are freed at once. */
  own(make: () => Tensor): Tensor {
    return this.add(this.#engine.tidy(make));
  }

  dispose(): void {
    for (const item of this.#items) item.dispose();
  }
}

/** `engine.tidy` for async work: what `work` puts into the scope lives across awaits and is disposed of at the end. */
export async function withScope<T>(engine: Engine, work: (scope: Scope) => Promise<T>): Promise<T> {
  const scope = new Scope(engine);
  try {
    return await work(scope);
  } finally {
    scope.dispose();
  }
}
