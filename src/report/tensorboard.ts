import { readdir } from 'node:fs/promises';
import { join, parse } from 'node:path';
import { readFileBytes } from '../files/files.ts';
import { EventFile, type SummaryImage, type SummaryValue } from './event-file.ts';
import type { RunEvent } from './run-log.ts';

/** TensorBoard reads every file with "tfevents" in its name. */
const EVENT_FILE = 'events.out.tfevents.eli';

/** What says when or of what an event is, rather than a figure. */
const PLACE = new Set(['event', 'task', 'epoch', 'iteration', 'seed', 'latent']);

/** Figures that are measured and so differ from run to run, such as a speed: the board shows them, the log doesn't. */
export type Measured = Readonly<Record<string, number>>;

/** How many `unit` a second were done since `start`, in milliseconds; nothing if none were. */
export function speedOf(unit: string, count: number, start: number): Measured {
  return count > 0 ? { [`${unit}PerSecond`]: (1000 * count) / (performance.now() - start) } : {};
}

/**
 * A run as TensorBoard shows it: an event file in the run's folder with a record for each event of the log, then one for
 * each picture.
 */
export class TensorBoard {
  readonly #folder: string;
  readonly #file: EventFile;

  /**
   * Opens the event file in `folder`, or makes it. What it holds beyond `events`, those of the log, is cut off; what it
   * lacks of them is added.
   *
   * @throws EliError FILE
   */
  constructor(folder: string, events: readonly RunEvent[]) {
    this.#folder = folder;
    this.#file = new EventFile(join(folder, EVENT_FILE), events.length);
    for (const event of events.slice(this.#file.length)) this.write(event);
  }

  /** Adds an event of the log. @throws EliError FILE */
  write(event: RunEvent, measured: Measured = {}): void {
    const { event: name, task, epoch, iteration } = event;
    const group = task === undefined ? name : `task${task}`;
    const values = Object.entries({ ...event, ...measured }).flatMap(([key, found]): SummaryValue[] => {
      const value = PLACE.has(key) ? undefined : numberOf(found);
      return value === undefined ? [] : [{ tag: `${group}/${key}`, value }];
    });
    this.#file.write(numberOf(iteration ?? epoch) ?? 0, values);
  }

  /** Adds the pictures that are in the folder. @throws EliError FILE */
  async addPictures(): Promise<void> {
    const names = (await readdir(this.#folder)).filter((name) => /\.(png|gif)$/.test(name));
    for (const name of names.sort()) {
      const value = imageOf(Buffer.from(await readFileBytes(join(this.#folder, name))));
      this.#file.write(0, [{ tag: `pictures/${parse(name).name}`, value }]);
    }
  }

  /** Flushes and closes the event file. @throws EliError FILE */
  close(): void {
    this.#file.close();
  }
}

/** A number as the log writes it: by name if it is NaN or infinite. */
function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return ['NaN', 'Infinity', '-Infinity'].includes(value as string) ? Number(value) : undefined;
}

/** A PNG or GIF file with the size that its header gives. */
function imageOf(encoded: Buffer): SummaryImage {
  if (encoded.toString('latin1', 0, 3) === 'GIF')
    return { width: encoded.readUInt16LE(6), height: encoded.readUInt16LE(8), encoded };
  return { width: encoded.readUInt32BE(16), height: encoded.readUInt32BE(20), encoded };
}
