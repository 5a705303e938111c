/**
 * The same items, each asked for while the one before is still in use: reading, computing and writing overlap. One item
 * more is held.
 */
export async function* prefetch<T>(items: AsyncGenerator<T>): AsyncGenerator<T> {
  const ask = (): Promise<IteratorResult<T>> => {
    const next = items.next();
    // An error is met when the item is awaited; until then it must not count as unhandled.
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
    // Waits for what is under way, and closes the source when the consumer has stopped early.
    await items.return(undefined);
  }
}
