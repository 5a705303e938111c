import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { EliError } from '../errors.ts';
import { jsonRecord } from '../files/json.ts';

/** One event of a run: a JSON object. */
export type RunEvent = Record<string, unknown>;

/**
 * The log of a run: one JSON object a line, handed to the system with every event, so that a run that is killed
 * leaves all lines but perhaps the last one whole. Writing is synchronous: an event is a few hundred bytes.
 */
export class RunLog {
  readonly path: string;
  readonly #file: number;
  #bytes: number;
  #length: number;

  private constructor(path: string, file: number, bytes: number, length: number) {
    this.path = path;
    this.#file = file;
    this.#bytes = bytes;
    this.#length = length;
  }

  /**
   * Opens a new log, which must not exist; or, with `resume`, one that may: a torn last line is cut off, and what comes
   * after the first `length` events, which the checkpoint counted.
   *
   * @throws EliError RUN_FOLDER when a new log exists, FILE when it cannot be opened, FORMAT for a broken line
   * that is not the last
   */
  static open(
    path: string,
    { resume = false, length: kept = Number.POSITIVE_INFINITY }: { resume?: boolean; length?: number } = {},
  ): RunLog {
    let file: number;
    try {
      file = openSync(path, resume ? 'a+' : 'ax+');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
        throw new EliError('RUN_FOLDER', `The log '${path}' already exists`, {
          hint: 'choose another folder with --out, or go on with that run with --resume',
          cause,
        });
      }
      throw failure(path, 'opened', cause);
    }
    try {
      const { bytes, events } = keptPart(path, readFileSync(file), kept);
      if (bytes < fstatSync(file).size) ftruncateSync(file, bytes);
      return new RunLog(path, file, bytes, events.length);
    } catch (error) {
      closeSync(file);
      throw error;
    }
  }

  /** Events in the log: save it in a checkpoint, and give it to `open` when resuming from that. */
  get length(): number {
    return this.#length;
  }

  /**
   * Appends an event. When the line cannot be written whole, none of it stays.
   *
   * @throws EliError FILE, on a full disk for instance
   */
  write(event: RunEvent): void {
    const line = Buffer.from(`${JSON.stringify(event, nonFinite)}\n`);
    try {
      for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
    } catch (cause) {
      ftruncateSync(this.#file, this.#bytes);
      throw failure(this.path, 'written', cause);
    }
    this.#bytes += line.length;
    this.#length++;
  }

  /** Waits until the disk has all events, as before a checkpoint that counts on them. @throws EliError FILE */
  flush(): void {
    try {
      fsyncSync(this.#file);
    } catch (cause) {
      throw failure(this.path, 'written', cause);
    }
  }

  /** Flushes and closes; no more events can be written. @throws EliError FILE */
  close(): void {
    try {
      this.flush();
    } finally {
      closeSync(this.#file);
    }
  }
}

/** Reads a log's events, without a torn last line. @throws EliError FILE, FORMAT */
export function readRunLog(path: string): RunEvent[] {
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch (cause) {
    throw failure(path, 'read', cause);
  }
  return keptPart(path, data, Number.POSITIVE_INFINITY).events;
}

/** The first `kept` events of a log, complete lines only, and their bytes. */
function keptPart(path: string, data: Buffer, kept: number): { bytes: number; events: RunEvent[] } {
  let bytes = 0;
  const events: RunEvent[] = [];
  for (let end = data.indexOf(10); end >= 0 && events.length < kept; end = data.indexOf(10, bytes)) {
    const event = jsonRecord(data.toString('utf8', bytes, end));
    if (event === undefined) {
      // A machine that loses power may leave a last line of zeros that ends in a newline: torn as well.
      if (end === data.length - 1) break;
      throw new EliError('FORMAT', `Line ${events.length + 1} of the log '${path}' is not a JSON object`, {
        hint: 'the file was changed by something else; start a new run with another --out',
      });
    }
    bytes = end + 1;
    events.push(event);
  }
  return { bytes, events };
}

/** JSON would write a loss of NaN as null, as if it were missing. */
function nonFinite(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

function failure(path: string, done: string, cause: unknown): EliError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new EliError('FILE', `The log '${path}' cannot be ${done}: ${reason}`, { cause });
}
