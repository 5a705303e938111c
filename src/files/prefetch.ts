/**
 * The same items, each requested while the previous one is still in use, so that reading, computing and writing overlap.
 * One extra item is held.
 */
export async function* prefetch<T>(items: AsyncGenerator<T>): AsyncGenerator<T> {
  const ask = (): Promise<IteratorResult<T>> => {
    const next = items.next();
    // An error is thrown when the item is awaited; until then it must not count as unhandled.
    next.catch(() => {});
    return next;
  };
  let next = ask();
  try {
    for (let item = await next; item.done !== true; item = await next) {
      next = ask();
      yield item.value;
    }
  } finally {
    // Waits for the pending item, and closes the source when the consumer has stopped early.
    await items.return(undefined);
  }
}
