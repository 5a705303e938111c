import type { WriteStream } from 'node:tty';
import cliProgress from 'cli-progress';

/** Columns for the label of a bar, so that bars below each other line up. */
const LABEL = 22;

/** A piece of work under way. */
export interface ProgressTask {
  /** `done` units of the total are done; `extra` is a short text behind the figures, such as `loss 0.31`. */
  update(done: number, extra?: string): void;
  /** The work has ended, whole or not. */
  done(): void;
}

/**
 * Begins to show a piece of work of `total` units, such as `progress('task 1', 2390, 'steps')`; `from` of them were
 * done before, by the run that is resumed. One piece at a time, and `done` must be called even when the work fails.
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
  /** `auto` is a bar where the stream is a terminal and lines elsewhere. */
  mode?: 'auto' | 'bar' | 'lines' | 'silent';
  /** Where to show it: stderr, so that stdout stays free for results. */
  stream?: Pick<WriteStream, 'write'> & { isTTY?: boolean };
  /** Time between two lines, in milliseconds. */
  interval?: number;
  /** The clock, in milliseconds. */
  now?: () => number;
}

/** Makes a `Progress` that shows what is done, the rate and the time left. */
export function createProgress(options: ProgressOptions = {}): Progress {
  const {
    mode = 'auto',
    stream = process.stderr,
    interval = 10_000,
    now = () => performance.now(),
  } = options;
  if (mode === 'silent') return silentProgress;
  const asBar = mode === 'bar' || (mode === 'auto' && stream.isTTY);
  return (label, total, unit, from = 0) => {
    const work = { label, total, unit, from };
    const start = now();
    let last = from;
    let extra = '';
    const figures = (): string => describe(work, last, now() - start, extra);
    const { update, done } = asBar
      ? barOf(work, stream as WriteStream, figures)
      : linesOf(work, stream, figures, interval, now);
    return {
      update(units, text = '') {
        last = units;
        extra = text;
        update(units);
      },
      done: () => done(last),
    };
  };
}

interface Work {
  label: string;
  total: number;
  unit: string;
  from: number;
}

/** How a piece of work is shown: both are given the units done. */
interface Show {
  update(units: number): void;
  done(units: number): void;
}

function barOf({ label, total, unit, from }: Work, stream: WriteStream, figures: () => string): Show {
  const bar = new cliProgress.SingleBar({
    stream,
    hideCursor: true,
    barsize: 24,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    // The caller's handler of Ctrl-C decides what happens: it writes a checkpoint.
    gracefulExit: false,
    format: (settings, { progress, value }, { text }) =>
      `${label.padEnd(LABEL)} ${cliProgress.Format.BarFormat(progress, settings)} ${value}/${total} ${unit}  ${text}`,
  });
  bar.start(total, from, { text: figures() });
  const update = (units: number): void => bar.update(units, { text: figures() });
  return {
    update,
    done(units) {
      update(units);
      bar.stop();
    },
  };
}

function linesOf(
  { label, total, unit }: Work,
  stream: { write(text: string): unknown },
  figures: () => string,
  interval: number,
  now: () => number,
): Show {
  let shown = now();
  const done = (units: number): void => {
    const percent = total > 0 ? Math.floor((100 * units) / total) : 100;
    stream.write(`${label}: ${units}/${total} ${unit} (${percent} %)  ${figures()}\n`);
    shown = now();
  };
  return {
    update(units) {
      if (units < total && now() - shown >= interval) done(units);
    },
    done,
  };
}

/** Rate and time left, or time taken when all is done, and the caller's text. */
function describe({ total, unit, from }: Work, last: number, elapsed: number, extra: string): string {
  const seconds = elapsed / 1000;
  const done = last - from;
  const parts: string[] = [];
  if (done > 0 && seconds > 0) parts.push(`${rate(done / seconds)} ${unit}/s`);
  if (last >= total) parts.push(`took ${duration(seconds)}`);
  else if (done > 0) parts.push(`${duration((seconds * (total - last)) / done)} left`);
  if (extra !== '') parts.push(extra);
  return parts.join(', ');
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
