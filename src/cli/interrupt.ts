/** Signals that ask to stop: Ctrl-C, `kill`, a terminal that is closed, a batch system that warns of the end of its time. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const;

/** What a shell gives for a process that SIGINT or SIGTERM ended. */
const FORCED = { SIGINT: 130, SIGTERM: 143, SIGHUP: 130, SIGUSR1: 130 } as const;

/**
 * An abort signal that the first of these signals raises, with `message` on stderr; a second one ends the process at
 * once, with exit code 143 for SIGTERM and 130 for others. `done` gives them back to Node.
 */
export function interruptSignal(message: string): {
  readonly signal: AbortSignal;
  readonly done: () => void;
} {
  const stop = new AbortController();
  const interrupt = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) process.exit(FORCED[signal as keyof typeof FORCED]);
    stop.abort();
    process.stderr.write(`\n${signal}: ${message}; a second signal stops at once\n`);
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  const done = (): void => {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  };
  return { signal: stop.signal, done };
}
