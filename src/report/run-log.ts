import { EliError } from '../errors.ts';
import { AppendFile } from '../files/append.ts';
import { jsonRecord } from '../files/json.ts';
import { nonFinite } from './json.ts';

/** One event of a run: a JSON object. */
export type RunEvent = Record<string, unknown>;

/** The log of a run: one JSON object a line, so that a run that is killed loses at most its last line. */
export class RunLog {
  readonly #file: AppendFile;
  #length = 0;

  /**
   * Opens a new log, or with `resume` one that may exist: a torn last line is cut off, as is everything after the first
   * `length` events, those that the checkpoint counted.
   *
   * @throws EliError RUN_FOLDER when a new log exists, FILE when it cannot be opened, FORMAT for a broken line
   * that is not the last
   */
  constructor(path: string, { resume = false, length = Number.POSITIVE_INFINITY } = {}) {
    const keep = (content: Buffer): number => {
      const kept = keptPart(path, content, length);
      this.#length = kept.length;
      return kept.bytes;
    };
    try {
      this.#file = new AppendFile(path, keep, { fresh: !resume });
    } catch (error) {
      const { cause } = error as EliError;
      if ((cause as NodeJS.ErrnoException | undefined)?.code !== 'EEXIST') throw error;
      throw new EliError('RUN_FOLDER', `The log '${path}' already exists`, {
        hint: 'choose another folder with --out, or resume that run with --resume',
        cause,
      });
    }
  }

  /** Number of events, for the checkpoint; a run that resumes from it passes it to the constructor. */
  get length(): number {
    return this.#length;
  }

  /** All events as they were written: what was NaN or infinite is its name, see `nonFinite`. @throws EliError FILE */
  events(): RunEvent[] {
    const lines = this.#file.read().toString().split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as RunEvent);
  }

  /**
   * Appends an event; a line that cannot be written completely is removed again.
   *
   * @throws EliError FILE, for example on a full disk
   */
  write(event: RunEvent): void {
    this.#file.append(Buffer.from(`${JSON.stringify(event, nonFinite)}\n`));
    this.#length++;
  }

  /** Waits until all events are on the disk, as before a checkpoint that counts them. @throws EliError FILE */
  flush(): void {
    this.#file.flush();
  }

  /** Flushes and closes the log. @throws EliError FILE */
  close(): void {
    this.#file.close();
  }
}

/** The number of events of a log, at most `most` and without a torn last line, and of their bytes. */
function keptPart(path: string, data: Buffer, most: number): { bytes: number; length: number } {
  let [bytes, length] = [0, 0];
  for (let end = data.indexOf(10); end >= 0 && length < most; end = data.indexOf(10, bytes)) {
    if (jsonRecord(data.toString('utf8', bytes, end)) === undefined) {
      // A power failure may leave a last line of zeros that ends in a newline: torn as well.
      if (end === data.length - 1) break;
      throw new EliError('FORMAT', `Line ${length + 1} of the log '${path}' is not a JSON object`, {
        hint: 'the file was changed by something else; start a new run with another --out',
      });
    }
    bytes = end + 1;
    length++;
  }
  return { bytes, length };
}
