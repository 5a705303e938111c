import { type FileHandle, open, stat } from 'node:fs/promises';
import type { EliError } from '../errors.ts';
import { checkRegular, formatError, system } from './files.ts';

/** Bytes that can be read repeatedly from any position: a file, or a member of an archive. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** Whether all that comes before a byte is read as well, as in a packed archive. */
  readonly sequential?: boolean;
  /**
   * Bytes `start` … `start + length − 1` in pieces of `piece` bytes (the last may be shorter), each in its own buffer.
   * @throws EliError `FORMAT` when the bytes are not all there or are damaged, `FILE` when they cannot be read.
   */
  pieces(start: number, length: number, piece: number): AsyncGenerator<Uint8Array<ArrayBuffer>>;
}

/** A regular file of any size that is read in pieces. */
export class InputFile implements ByteSource {
  readonly name: string;
  readonly size: number;
  readonly #handle: FileHandle;

  private constructor(name: string, size: number, handle: FileHandle) {
    this.name = name;
    this.size = size;
    this.#handle = handle;
  }

  /** @throws EliError `FILE` when it is missing, unreadable or not a regular file. */
  static async open(path: string): Promise<InputFile> {
    return system('read', path, async () => {
      // Checked before it is opened: opening a pipe would block.
      const info = await stat(path);
      checkRegular('read', path, info);
      return new InputFile(path, info.size, await open(path, 'r'));
    });
  }

  /** Bytes `start` … `start + length − 1`. @throws EliError `FORMAT` when the file is shorter, `FILE`. */
  async read(start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const cut = (): EliError =>
      formatError(
        `${this.name} is cut off or damaged: it has ${this.size} bytes, cannot read ${length} from byte ${start}`,
        'write or download it again',
      );
    // Checked before memory is allocated: both numbers may come from a damaged file.
    if (!(start >= 0 && length >= 0 && start + length <= this.size)) throw cut();
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const read = () => this.#handle.read(bytes, done, length - done, start + done);
      const { bytesRead } = await system('read', this.name, read);
      // The file was truncated after it was opened.
      if (bytesRead === 0) throw cut();
      done += bytesRead;
    }
    return bytes;
  }

  async *pieces(start: number, length: number, piece: number): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    for (let done = 0; done < length; done += piece) {
      yield await this.read(start + done, Math.min(piece, length - done));
    }
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.#handle.close();
  }
}
