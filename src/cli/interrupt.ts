/**
 * A signal that Ctrl-C and SIGTERM raise, with `message` on stderr; the second time ends the process at once. `done`
 * gives both back to Node.
 */
export function interruptSignal(message: string): {
  readonly signal: AbortSignal;
  readonly done: () => void;
} {
  const stop = new AbortController();
  const interrupt = (): void => {
    if (stop.signal.aborted) process.exit(130);
    stop.abort();
    process.stderr.write(`\n${message}; press Ctrl-C again to stop at once\n`);
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const done = (): void => {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  };
  return { signal: stop.signal, done };
}
