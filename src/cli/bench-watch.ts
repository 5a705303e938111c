import { watch } from 'node:fs';
import { dirname } from 'node:path';
import { EliError } from '../errors.ts';
import { forgetShaders } from '../wgsl/source.ts';
import { interruptSignal } from './interrupt.ts';

/** Editors write a file in several steps; this long after the last, in milliseconds, it is read. */
const SETTLED = 150;
const SHADERS_AND_CHECKS = /\.(wgsl|[cm]?js)$/;

/**
 * Does a round of work now and whenever a shader or check in the folders of `files` is saved, until Ctrl-C. What is wrong
 * with a shader is printed, and the next save is awaited.
 * @throws EliError `DEVICE_LOST`, and what is not an EliError
 */
export async function onSave(files: readonly string[], round: () => Promise<void>): Promise<void> {
  const { signal, done } = interruptSignal('stopping after this round');
  let wake = (): void => undefined;
  let timer: NodeJS.Timeout | undefined;
  let saved = true;
  const changed = (_: string, name: string | null): void => {
    if (name !== null && !SHADERS_AND_CHECKS.test(name)) return;
    clearTimeout(timer);
    timer = setTimeout(() => {
      saved = true;
      wake();
    }, SETTLED);
  };
  const folders = [...new Set(files.map((file) => dirname(file)))];
  const watchers = folders.map((folder) => watch(folder, changed));
  signal.addEventListener('abort', () => wake());
  try {
    while (!signal.aborted) {
      if (saved) {
        saved = false;
        forgetShaders();
        await tried(round);
        process.stderr.write(`waiting for a change in ${folders.join(', ')}; Ctrl-C ends\n`);
      }
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!saved && !signal.aborted) await woken;
    }
  } finally {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
    done();
  }
}

async function tried(round: () => Promise<void>): Promise<void> {
  try {
    await round();
  } catch (error) {
    if (!(error instanceof EliError) || error.code === 'DEVICE_LOST') throw error;
    process.stderr.write(`\neli: ${error.message}\n`);
  }
}
