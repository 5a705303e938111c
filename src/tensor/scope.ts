import type { Engine } from '../gpu/engine.ts';
import type { ScopeItem } from '../gpu/scopes.ts';
import type { Tensor } from './tensor.ts';

/** Collects what is to be disposed when the work of `withScope` ends. */
export interface Scope {
  add<T extends ScopeItem>(item: T): T;
  /** Adds the new tensor that `make` returns; intermediate tensors are freed at once. */
  own(make: () => Tensor): Tensor;
}

/** `engine.tidy` for async work: what `work` adds to the scope lives across awaits and is disposed at the end. */
export async function withScope<T>(engine: Engine, work: (scope: Scope) => Promise<T>): Promise<T> {
  const items: ScopeItem[] = [];
  const add: Scope['add'] = (item) => {
    items.push(item);
    return item;
  };
  try {
    return await work({ add, own: (make) => add(engine.tidy(make)) });
  } finally {
    for (const item of items) item.dispose();
  }
}
