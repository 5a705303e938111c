import { EliError } from '../errors.ts';

/** What a scope can dispose: tensors, programs. */
export interface ScopeItem {
  dispose(): void;
  /** Called when no scope will dispose of it. */
  watch?(): void;
}

/** Nested `tidy` scopes: what an engine keeps track of. */
export class Scopes {
  readonly #scopes: Set<ScopeItem>[] = [];

  /** Adds `item` to the innermost `tidy` scope, if there is one. */
  track(item: ScopeItem): void {
    const scope = this.#scopes.at(-1);
    if (scope === undefined) item.watch?.();
    else scope.add(item);
  }

  /** Removes a tensor or program from all scopes; see `keep`. */
  untrack(item: ScopeItem): void {
    for (const scope of this.#scopes) scope.delete(item);
  }

  /** Removes `item` from all scopes: it lives until it is disposed. */
  keep<T extends ScopeItem>(item: T): T {
    this.untrack(item);
    item.watch?.();
    return item;
  }

  /**
   * Runs `fn` and disposes every tensor made inside, except those it returns (alone, or in arrays and plain objects).
   * `fn` must be synchronous.
   */
  tidy<T>(fn: () => T): T {
    const scope = new Set<ScopeItem>();
    this.#scopes.push(scope);
    let result: T;
    try {
      result = fn();
      if (result instanceof Promise) {
        // It will fail on disposed tensors: the error below is the one to report.
        result.catch(() => undefined);
        throw new EliError('ARGUMENT', 'engine.tidy was given an async function', {
          hint: 'await outside, or dispose tensors with `using`',
        });
      }
      forEachItem(result, (item) => scope.delete(item));
    } finally {
      this.#scopes.pop();
      for (const item of scope) item.dispose();
    }
    forEachItem(result, (item) => this.track(item));
    return result;
  }
}

/** Calls `fn` for every disposable in `value`: itself, or inside arrays and plain objects. */
export function forEachItem(value: unknown, fn: (item: ScopeItem) => void): void {
  if (value === null || typeof value !== 'object') return;
  if (typeof (value as Partial<ScopeItem>).dispose === 'function') fn(value as ScopeItem);
  else if (Array.isArray(value)) for (const element of value) forEachItem(element, fn);
  else if (Object.getPrototypeOf(value) === Object.prototype)
    for (const element of Object.values(value)) forEachItem(element, fn);
}
