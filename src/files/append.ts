import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { fileError } from './files.ts';

/**
 * A file that grows by whole pieces, handed to the system one by one: a process that is killed loses at most the last.
 * Writing is synchronous, for pieces of a few hundred bytes.
 */
export class AppendFile {
  readonly #path: string;
  readonly #file: number;
  #bytes: number;

  /**
   * Opens the file, or makes it; everything after its first `keep(content)` bytes is cut off.
   *
   * @throws EliError FILE, also with `fresh` if it exists; and what `keep` throws
   */
  constructor(path: string, keep: (content: Buffer) => number, { fresh = false } = {}) {
    this.#path = path;
    try {
      this.#file = openSync(path, fresh ? 'ax+' : 'a+');
    } catch (cause) {
      throw fileError('open', path, cause);
    }
    try {
      this.#bytes = keep(this.#do('read', () => readFileSync(this.#file)));
      this.#do('write', () => {
        if (this.#bytes < fstatSync(this.#file).size) ftruncateSync(this.#file, this.#bytes);
      });
    } catch (error) {
      closeSync(this.#file);
      throw error;
    }
  }

  /** All that it holds. @throws EliError FILE */
  read(): Buffer {
    return this.#do('read', () => readFileSync(this.#path));
  }

  /** A piece that cannot be written completely is removed again. @throws EliError FILE, for example on a full disk */
  append(piece: Uint8Array): void {
    this.#do('write', () => {
      try {
        for (let done = 0; done < piece.length; ) done += writeSync(this.#file, piece, done);
      } catch (cause) {
        ftruncateSync(this.#file, this.#bytes);
        throw cause;
      }
    });
    this.#bytes += piece.length;
  }

  /** Waits until everything is on the disk. @throws EliError FILE */
  flush(): void {
    this.#do('write', () => fsyncSync(this.#file));
  }

  /** Flushes and closes the file. @throws EliError FILE */
  close(): void {
    try {
      this.flush();
    } finally {
      closeSync(this.#file);
    }
  }

  #do<T>(doing: string, action: () => T): T {
    try {
      return action();
    } catch (cause) {
      throw fileError(doing, this.#path, cause);
    }
  }
}
