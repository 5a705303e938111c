// What the machine around a run can do to it: the disk is full, a folder is read-only, the clock jumps.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mnistConfig } from '../src/experiments/mnist/config.ts';
import { createProgress, type Progress, silentProgress } from '../src/report/progress.ts';
import { fails, randomInts, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { runInSession, smallMnist } from './support/mnist.ts';

const engine = await openEngine();
test.after(closeEngine);
const root = temporaryFolder();
const mnist = await smallMnist(600, 200);
const config = mnistConfig({
  epochs: 2,
  batch: 32,
  iterations: 60,
  curveEvery: 20,
  hidden: 32,
  steps: 5,
});
const FILES = ['config.json', 'log.jsonl', 'checkpoint.safetensors', 'metrics.json', 'aligner.safetensors'];

const run = (folder: string, resume: boolean, progress: Progress = silentProgress) =>
  runInSession(engine, config, mnist, { folder, progress, resume });

const reference = join(root, 'reference');
test('the run that the others are compared with', async () => {
  await run(reference, false);
});

function sameAsReference(folder: string): void {
  for (const file of FILES) {
    const [got, want] = [folder, reference].map((from) => readFileSync(join(from, file)));
    assert.ok(got!.equals(want!), file);
  }
  assert.equal(readdirSync(folder).sort(), readdirSync(reference).sort(), 'nothing else is left behind');
}

test('a run that ended before its first checkpoint is resumed from its beginning', async () => {
  const folder = join(root, 'early');
  const failing: Progress = () => ({
    update: () => {
      throw new Error('stop');
    },
    done: () => undefined,
  });
  await run(folder, false, failing).then(
    () => assert.unreachable(),
    (error: Error) => assert.is(error.message, 'stop'),
  );
  assert.equal(readdirSync(folder).sort(), ['config.json', 'environment.json', 'log.jsonl']);
  // As a process leaves it that is killed while it writes.
  writeFileSync(join(folder, '.tmp-eli-1-0123456789ab'), 'half');
  await run(folder, true);
  sameAsReference(folder);
});

/** Runs `fn` on a file system of its own in memory, if this process may mount one. */
async function onMount(name: string, options: string, fn: (path: string) => Promise<void>): Promise<void> {
  const path = join(root, name);
  mkdirSync(path);
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { encoding: 'utf8' });
  if (mount.status !== 0) {
    console.log(`not tested, needs the right to mount: ${mount.error?.message ?? mount.stderr.trim()}`);
    return;
  }
  try {
    await fn(path);
  } finally {
    assert.is(spawnSync('umount', [path]).status, 0);
  }
}

test('a disk that is full: FILE, the last checkpoint stays, and the run goes on when there is room', async () => {
  // Two checkpoints of task 1 (220 kB each) have room, one of task 1 and one of task 2 (320 kB) have not.
  await onMount('disk', 'size=500k', async (disk) => {
    const folder = join(disk, 'run');
    await fails(() => run(folder, false), 'FILE', /checkpoint\.safetensors: no space left on the disk/);
    assert.equal(readdirSync(folder).sort(), [
      'checkpoint.safetensors',
      'config.json',
      'environment.json',
      'log.jsonl',
    ]);
    await fails(() => run(folder, true), 'FILE', /no space left/);
    assert.is(spawnSync('mount', ['-o', 'remount,size=2m', disk]).status, 0);
    await run(folder, true);
    sameAsReference(folder);
  });
});

test('no room for the log: FILE, and the run goes on when there is', async () => {
  await onMount('small', 'size=268k', async (disk) => {
    const folder = join(disk, 'run');
    mkdirSync(folder);
    // Leaves three pages, which the lock, config.json and environment.json take.
    writeFileSync(join(disk, 'other'), Buffer.alloc(256 * 1024));
    await fails(
      () => run(folder, false),
      'FILE',
      /cannot write .*log\.jsonl: no space left on the disk \(ENOSPC\)/,
    );
    assert.is(spawnSync('mount', ['-o', 'remount,size=2m', disk]).status, 0);
    await run(folder, true);
    sameAsReference(folder);
  });
});

test('a run folder that cannot be written: said before anything is computed', async () => {
  const file = join(root, 'file');
  writeFileSync(file, '');
  await fails(() => run(file, false), 'RUN_FOLDER', /is a file, not a folder/);
  await fails(() => run(join(file, 'run'), false), 'RUN_FOLDER', /is a file, not a folder/);
  if (process.platform === 'linux') {
    await fails(() => run('/proc/eli-run', false), 'RUN_FOLDER', /cannot be made/);
  }
  await onMount('read-only', 'size=1m', async (disk) => {
    const begun = join(disk, 'begun');
    mkdirSync(begun);
    writeFileSync(join(begun, 'config.json'), '{}');
    assert.is(spawnSync('mount', ['-o', 'remount,ro', disk]).status, 0);
    await fails(() => run(join(disk, 'new'), false), 'RUN_FOLDER', /read-only/);
    await fails(() => run(begun, true), 'FILE', /read-only/);
  });
});

test('a clock that jumps: the same bytes, and progress without nonsense', async () => {
  const real = Date.now;
  const random = randomInts(3);
  let text = '';
  const stream = {
    isTTY: true,
    write: (part: string) => {
      text += part;
      return true;
    },
  };
  try {
    // A day back or forth with each look.
    Date.now = () => real() + (random(3) - 1) * 86_400_000;
    for (const mode of ['bar', 'lines'] as const) {
      text = '';
      const folder = join(root, mode);
      const progress = createProgress({
        stream: mode === 'bar' ? terminal(stream) : { ...stream, isTTY: false },
        interval: 0,
      });
      await run(folder, false, progress);
      sameAsReference(folder);
      assert.match(text, /60\/60 iterations.* took \d/);
      assert.not.match(text.replace(/loss -/g, ''), /NaN|Infinity|undefined| -\d|\d h /);
    }
  } finally {
    Date.now = real;
  }
});

/** What a bar needs of a terminal. */
function terminal<T extends object>(stream: T): T {
  const nothing = (): boolean => true;
  return Object.assign(stream, {
    columns: 200,
    cursorTo: nothing,
    moveCursor: nothing,
    clearLine: nothing,
    clearScreenDown: nothing,
    on: nothing,
    once: nothing,
    removeListener: nothing,
  });
}

test.run();
