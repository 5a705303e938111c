// What must be on the disk before what refers to it: told by the order of the calls to the system.
import fs, { mkdirSync, readFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RunState } from '../src/experiments/session.ts';
import { writeFileAtomic } from '../src/files/atomic.ts';
import { RunLog } from '../src/report/run-log.ts';
import { temporaryFolder } from './support/data.ts';

const folder = temporaryFolder();
const calls: string[] = [];

/** Notes the calls of a method of a module or class, which still does its work. */
function note(owner: object, method: string): void {
  const methods = owner as Record<string, (...args: unknown[]) => unknown>;
  const real = methods[method]!;
  methods[method] = function (...args) {
    calls.push(method);
    return real.apply(this, args);
  };
}

const handle = await open(join(folder, 'any'), 'w');
note(Object.getPrototypeOf(handle), 'sync');
note(Object.getPrototypeOf(handle), 'writeFile');
await handle.close();
note(fs.promises, 'rename');
note(fs, 'fsyncSync');
note(fs, 'writeSync');
syncBuiltinESMExports();
test.before.each(() => {
  calls.length = 0;
});

test('a file is on the disk before it gets its name', async () => {
  await writeFileAtomic(join(folder, 'file'), ['a', 'b']);
  assert.equal(calls, ['writeFile', 'writeFile', 'sync', 'rename']);
});

test('the log is on the disk before a checkpoint that counts its events', async () => {
  const dir = join(folder, 'run');
  mkdirSync(dir);
  const log = new RunLog(join(dir, 'log.jsonl'));
  const parts = { config: {}, run: { folder: dir, resume: false }, log };
  const state = new RunState(parts as never);
  state.event({ step: 1 });
  state.event({ step: 2 });
  await state.saveCheckpoint(async (where, length) => {
    assert.is(where, dir);
    assert.is(length, 2);
    calls.push('checkpoint');
  });
  assert.equal(calls, ['writeSync', 'writeSync', 'fsyncSync', 'checkpoint']);
  log.close();
  assert.is(calls.at(-1), 'fsyncSync', 'and once more when it is closed');
  assert.is(readFileSync(join(dir, 'log.jsonl'), 'utf8').split('\n').length, 3);
});

test.run();
