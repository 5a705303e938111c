/** Signals that ask a process to stop, with the exit code when a second one ends it, as a shell would report it. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143, SIGHUP: 130, SIGUSR1: 130 } as const;

/**
 * An abort signal raised by the first such signal, which writes `message` to stderr. A second one ends the process.
 * `done` removes the handlers.
 */
export function interruptSignal(message: string): { signal: AbortSignal; done: () => void } {
  const stop = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(EXIT_CODES[signal as keyof typeof EXIT_CODES]);
    stop.abort();
    process.stderr.write(`\n${signal}: ${message}; a second signal stops at once\n`);
  };
  const signals = Object.keys(EXIT_CODES);
  for (const signal of signals) process.on(signal, interrupt);
  const done = (): void => {
    for (const signal of signals) process.off(signal, interrupt);
  };
  return { signal: stop.signal, done };
}
