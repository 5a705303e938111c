import type { WriteStream } from 'node:tty';
import cliProgress from 'cli-progress';

/** Columns for the label of a bar, so that bars below each other line up. */
const LABEL = 22;

/** A task under way. */
export interface ProgressTask {
  /** `done` units of the total are done; `extra` is a short text after the figures, such as `loss 0.31`. */
  update(done: number, extra?: string): void;
  /** The task has ended, complete or not. */
  done(): void;
}

/**
 * Begins to show a task of `total` units, such as `progress('task 1', 2390, 'steps')`, of which a resumed run had done
 * `from` before. One task at a time, and `done` must be called even when the task fails.
 */
export type Progress = (label: string, total: number, unit: string, from?: number) => ProgressTask;

/** The result of `work`, whose progress `bar` shows until it ends. */
export async function withBar<T>(bar: ProgressTask, work: (bar: ProgressTask) => Promise<T>): Promise<T> {
  try {
    return await work(bar);
  } finally {
    bar.done();
  }
}

/** Shows nothing: for use as a library. */
export const silentProgress: Progress = () => ({ update() {}, done() {} });

export interface ProgressOptions {
  /** Where to show it: as a bar on a terminal, else as lines. Default stderr, since stdout is for results. */
  stream?: Pick<WriteStream, 'write'> & { isTTY?: boolean };
  /** Time between two lines, in milliseconds. */
  interval?: number;
  /** The clock, in milliseconds. */
  now?: () => number;
}

/** Makes a `Progress` that shows what is done, the rate and the time left. */
export function createProgress(options: ProgressOptions = {}): Progress {
  const { stream = process.stderr, interval = 10_000, now = () => performance.now() } = options;
  return (label, total, unit, from = 0) => {
    const start = now();
    let shown = start;
    let last = from;
    let extra = '';
    const text = (): string =>
      [...figures(last - from, total - last, unit, (now() - start) / 1000), extra].filter(Boolean).join(', ');
    const bar = stream.isTTY ? barOf(stream as WriteStream, label, unit) : undefined;
    bar?.start(total, from, { text: text() });
    const line = (): void => {
      const percent = total > 0 ? Math.floor((100 * last) / total) : 100;
      stream.write(`${label}: ${last}/${total} ${unit} (${percent} %)  ${text()}\n`);
      shown = now();
    };
    return {
      update(units, words = '') {
        last = units;
        extra = words;
        if (bar) bar.update(last, { text: text() });
        else if (last < total && now() - shown >= interval) line();
      },
      done() {
        if (bar === undefined) return line();
        bar.update(last, { text: text() });
        bar.stop();
      },
    };
  };
}

function barOf(stream: WriteStream, label: string, unit: string): cliProgress.SingleBar {
  return new cliProgress.SingleBar({
    stream,
    hideCursor: true,
    barsize: 24,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    // The caller's Ctrl-C handler decides what happens: it writes a checkpoint.
    gracefulExit: false,
    format: (settings, { progress, value, total }, { text }) =>
      `${label.padEnd(LABEL)} ${cliProgress.Format.BarFormat(progress, settings)} ${value}/${total} ${unit}  ${text}`,
  });
}

/** The rate, and the time left or, when all is done, the time taken. */
function figures(done: number, left: number, unit: string, seconds: number): string[] {
  const speed = done > 0 && seconds > 0 ? [`${rate(done / seconds)} ${unit}/s`] : [];
  if (left <= 0) return [...speed, `took ${duration(seconds)}`];
  return done > 0 ? [...speed, `${duration((seconds * left) / done)} left`] : speed;
}

function rate(value: number): string {
  return value >= 100 ? value.toFixed(0) : value.toPrecision(2);
}

/** `8 s`, `1 min 05 s` or `2 h 03 min`. */
function duration(seconds: number): string {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (value: number): string => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}
