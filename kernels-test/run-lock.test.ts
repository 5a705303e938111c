// One writer a folder: who holds it is said, a dead owner's lock is taken over, and of several that try one succeeds.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RunLock } from '../src/report/run-lock.ts';
import { fails, temporaryFolder } from './support/data.ts';

const root = temporaryFolder();
let number = 0;
function newFolder(): string {
  const folder = join(root, String(number++));
  mkdirSync(folder);
  return folder;
}

const module = new URL('../src/report/run-lock.ts', import.meta.url).href;
/** A process that takes the lock of a folder when a line comes in, says how that went, and stays. */
function contender(folder: string): ChildProcess {
  const script = `
    const { RunLock } = await import(${JSON.stringify(module)});
    console.log('ready');
    process.stdin.once('data', () => RunLock.acquire(${JSON.stringify(folder)}).then(
      () => console.log('held'), (error) => console.log(error.code)));
    setInterval(() => {}, 1000);`;
  return spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
}

const said = async (child: ChildProcess): Promise<string> =>
  String((await once(child.stdout!, 'data'))[0]).trim();

async function kill(child: ChildProcess): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

async function holder(folder: string): Promise<ChildProcess> {
  const child = contender(folder);
  assert.is(await said(child), 'ready');
  child.stdin!.write('\n');
  assert.is(await said(child), 'held');
  return child;
}

test('a second writer is refused and told who holds the folder; the end gives it back', async () => {
  const folder = newFolder();
  const lock = await RunLock.acquire(folder);
  const who = new RegExp(`in use by process ${process.pid} on ${hostname()}, since 20\\d\\d-`);
  await fails(() => RunLock.acquire(folder), 'RUN_FOLDER', who);
  lock.check();
  lock.release();
  assert.equal(readdirSync(folder), []);
  (await RunLock.acquire(folder)).release();
  const child = await holder(folder);
  await fails(() => RunLock.acquire(folder), 'RUN_FOLDER', new RegExp(`process ${child.pid} on`));
  await kill(child);
  (await RunLock.acquire(folder)).release();
  assert.equal(readdirSync(folder), []);
});

test("of four processes that want a dead owner's folder, one gets it", async () => {
  const folder = newFolder();
  await kill(await holder(folder));
  assert.equal(readdirSync(folder), ['.lock-1']);
  const all = Array.from({ length: 4 }, () => contender(folder));
  await Promise.all(all.map(said));
  const answers = Promise.all(all.map(said));
  for (const child of all) child.stdin!.write('\n');
  assert.equal((await answers).sort(), ['RUN_FOLDER', 'RUN_FOLDER', 'RUN_FOLDER', 'held']);
  assert.equal(readdirSync(folder), ['.lock-2']);
  await Promise.all(all.map(kill));
});

test("another machine's lock counts until it has not been renewed for a minute", async () => {
  const folder = newFolder();
  const path = join(folder, '.lock-7');
  const elsewhere = { pid: 1, host: 'elsewhere', since: '2026-01-01T00:00:00.000Z', token: 'x' };
  writeFileSync(path, JSON.stringify(elsewhere));
  const ago = (seconds: number): void => {
    const then = new Date(Date.now() - 1000 * seconds);
    utimesSync(path, then, then);
  };
  ago(40);
  await fails(() => RunLock.acquire(folder), 'RUN_FOLDER', /process 1 on elsewhere, since 2026-01-01/);
  ago(70);
  (await RunLock.acquire(folder)).release();
  assert.equal(readdirSync(folder), []);
});

test('a number that another process has by now, and a lock that was never written, are dead', async () => {
  const folder = newFolder();
  const lock = await RunLock.acquire(folder);
  const text = readFileSync(join(folder, '.lock-1'), 'utf8');
  lock.release();
  if (process.platform === 'linux') {
    // This process's number, begun at another time.
    writeFileSync(join(folder, '.lock-1'), JSON.stringify({ ...JSON.parse(text), born: '1' }));
    (await RunLock.acquire(folder)).release();
  }
  writeFileSync(join(folder, '.lock-1'), '');
  (await RunLock.acquire(folder)).release();
  assert.equal(readdirSync(folder), []);
});

test('who stood still and lost the folder writes nothing more, and leaves the new lock alone', async () => {
  const folder = newFolder();
  const lock = await RunLock.acquire(folder);
  writeFileSync(join(folder, '.lock-2'), '{"pid":1}');
  await fails(() => lock.check(), 'RUN_FOLDER', /no longer belongs to this process/);
  rmSync(join(folder, '.lock-1'));
  await fails(() => lock.check(), 'RUN_FOLDER', /no longer/);
  lock.release();
  assert.equal(readdirSync(folder), ['.lock-2']);
});

test.run();
