import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { EliError } from '../errors.ts';
import { fileError } from '../files/files.ts';
import { jsonRecord } from '../files/json.ts';
import { nonFinite } from './json.ts';

/** One event of a run: a JSON object. */
export type RunEvent = Record<string, unknown>;

/**
 * The log of a run: one JSON object a line, handed to the system with every event, so that a run that is killed loses at
 * most its last line. Writing is synchronous: an event is a few hundred bytes.
 */
export class RunLog {
  readonly #path: string;
  readonly #file: number;
  #bytes: number;
  #length: number;

  /**
   * Opens a new log, or with `resume` one that may exist: a torn last line is cut off, as is everything after the first
   * `length` events, those that the checkpoint counted.
   *
   * @throws EliError RUN_FOLDER when a new log exists, FILE when it cannot be opened, FORMAT for a broken line
   * that is not the last
   */
  constructor(path: string, { resume = false, length = Number.POSITIVE_INFINITY } = {}) {
    this.#path = path;
    try {
      this.#file = openSync(path, resume ? 'a+' : 'ax+');
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError('open', path, cause);
      throw new EliError('RUN_FOLDER', `The log '${path}' already exists`, {
        hint: 'choose another folder with --out, or resume that run with --resume',
        cause,
      });
    }
    try {
      const kept = keptPart(path, readFileSync(this.#file), length);
      if (kept.bytes < fstatSync(this.#file).size) ftruncateSync(this.#file, kept.bytes);
      this.#bytes = kept.bytes;
      this.#length = kept.length;
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  /** Number of events, for the checkpoint; a run that resumes from it passes it to the constructor. */
  get length(): number {
    return this.#length;
  }

  /**
   * Appends an event; a line that cannot be written completely is removed again.
   *
   * @throws EliError FILE, for example on a full disk
   */
  write(event: RunEvent): void {
    const line = Buffer.from(`${JSON.stringify(event, nonFinite)}\n`);
    try {
      for (let done = 0; done < line.length; ) done += writeSync(this.#file, line, done);
    } catch (cause) {
      ftruncateSync(this.#file, this.#bytes);
      throw fileError('write', this.#path, cause);
    }
    this.#bytes += line.length;
    this.#length++;
  }

  /** Waits until all events are on the disk, as before a checkpoint that counts them. @throws EliError FILE */
  flush(): void {
    try {
      fsyncSync(this.#file);
    } catch (cause) {
      throw fileError('write', this.#path, cause);
    }
  }

  /** Flushes and closes the log. @throws EliError FILE */
  close(): void {
    try {
      this.flush();
    } finally {
      closeSync(this.#file);
    }
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
