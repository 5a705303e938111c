// The run session: one writer, a resume that reads the folder's config, stops at any moment by any signal, damaged
// checkpoints refused, what a run was computed with, done.json.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkpointPath } from '../src/experiments/checkpoint.ts';
import { readTrainCheckpoint } from '../src/experiments/train/checkpoint.ts';
import { decodeSafetensors } from '../src/files/safetensors.ts';
import { fails, randomInts, temporaryFolder } from './support/data.ts';

const root = temporaryFolder();
const cwd = fileURLToPath(new URL('..', import.meta.url));
const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
const sample = fileURLToPath(new URL('../data/cifar100', import.meta.url));

// The sample's images again and again, so that an epoch takes seconds.
const data = join(root, 'data');
mkdirSync(data);
for (const name of readdirSync(sample)) copyFileSync(join(sample, name), join(data, name));
const records = readFileSync(join(sample, 'train.bin'));
writeFileSync(join(data, 'train.bin'), Buffer.concat(Array<Buffer>(40).fill(records)));

const FLAGS =
  'train --data cifar100 --model cnn --no-pictures --epochs 2 --batch 8 --cutout 4 --ema-decay 0.9'.split(
    ' ',
  );

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

function startNode(...flags: string[]): Started {
  const child = spawn(process.execPath, flags, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.on('data', (chunk) => {
      text[name] += chunk;
    });
  }
  return { child, ended: once(child, 'close').then(([code]) => ({ code, ...text })) };
}

const start = (...flags: string[]): Started => startNode(cli, ...flags);
const eli = (...flags: string[]): Promise<Ended> => start(...flags).ended;
const sleep = (milliseconds: number): Promise<void> => new Promise((done) => setTimeout(done, milliseconds));

/** Waits until the command has said `text` on stderr. */
async function hears(child: ChildProcess, text: string): Promise<void> {
  let heard = '';
  for await (const chunk of child.stderr!.iterator({ destroyOnReturn: false })) {
    heard += chunk;
    if (heard.includes(text)) return;
  }
  assert.unreachable(heard);
}

const whole = join(root, 'whole');
const FILES = ['config.json', 'log.jsonl', 'metrics.json', 'model.safetensors', 'checkpoint.safetensors'];

function sameAsWhole(folder: string): void {
  for (const file of FILES) {
    const [got, want] = [folder, whole].map((from) => readFileSync(join(from, file)));
    assert.ok(got!.equals(want!), file);
  }
  assert.equal(readdirSync(folder).sort(), readdirSync(whole).sort());
}

test('a run says what it was computed with, and done.json is its last file', async () => {
  const written: string[] = [];
  mkdirSync(whole);
  const watcher = watch(whole, (_, name) => {
    if (name !== null && !name.startsWith('.')) written.push(name);
  });
  const { code, stderr } = await eli(...FLAGS, '--dir', data, '--out', whole);
  watcher.close();
  assert.is(code, 0, stderr);
  if (process.platform === 'linux') assert.is(written.at(-1), 'done.json');
  const [environment] = JSON.parse(readFileSync(join(whole, 'environment.json'), 'utf8'));
  assert.is(environment.versions.node, process.versions.node);
  assert.match(environment.versions['eli-webgpu'], /^\d/);
  assert.ok(environment.adapter.name.length > 0 && environment.adapter.driver.length > 0);
  assert.match(environment.data.sha256['training images'], /^[0-9a-f]{64}$/);
  assert.equal(environment.options, { dir: data, pictures: false });
});

test('each signal stops it within 20 s, also in an epoch; without flags it resumes bit for bit', async () => {
  const folder = join(root, 'stopped');
  let within = 0;
  let flags = [...FLAGS, '--dir', relative(cwd, data)];
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const) {
    const { child, ended } = start(...flags, '--out', folder);
    await hears(child, 'run folder');
    await sleep(1500);
    const asked = performance.now();
    child.kill(signal);
    const { code, stderr } = await ended;
    assert.is(code, 75, `${signal}: ${stderr}`);
    assert.ok(performance.now() - asked < 20_000);
    assert.match(stderr, new RegExp(`${signal}: stopping.*--resume --out`, 's'));
    assert.equal(
      readdirSync(folder).filter((name) => name.startsWith('.') || name === 'done.json'),
      [],
    );
    const { losses } = (await readTrainCheckpoint(folder))!;
    if (losses.length > 0 && losses.length < 200) within++;
    flags = ['train', '--resume'];
  }
  assert.ok(within > 0, 'at least one stop came in the middle of an epoch');
  const { code, stderr } = await eli('train', '--resume', '--out', folder);
  assert.is(code, 0, stderr);
  sameAsWhole(folder);
  // Once more: it is complete, and only its results are written again.
  const again = await eli('train', '--resume', '--out', folder);
  assert.is(again.code, 0, again.stderr);
  assert.match(again.stderr, /is complete already/);
  assert.not.match(again.stderr, /epoch/);
  sameAsWhole(folder);
});

test('a second signal ends the process at once, and what it holds is given back', async () => {
  const url = (path: string): string => JSON.stringify(new URL(`../src/${path}`, import.meta.url).href);
  const folder = join(root, 'forced');
  mkdirSync(folder);
  // What is stopped never comes to an end.
  const script = `
    const { interruptSignal } = await import(${url('cli/interrupt.ts')});
    const { RunLock } = await import(${url('report/run-lock.ts')});
    interruptSignal('stopping');
    await RunLock.acquire(${JSON.stringify(folder)});
    setInterval(() => {}, 1000);
    console.error('ready');`;
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 130],
  ] as const) {
    const { child, ended } = startNode('--import', 'tsx', '--input-type=module', '-e', script);
    await hears(child, 'ready');
    assert.equal(readdirSync(folder), ['.lock-1']);
    child.kill('SIGUSR1');
    await hears(child, 'SIGUSR1: stopping; a second signal stops at once');
    child.kill(signal);
    assert.is((await ended).code, code);
    assert.equal(readdirSync(folder), []);
  }
});

test('two processes that resume one folder: one is refused, and the log has each event once', async () => {
  const folder = join(root, 'two');
  const first = start(...FLAGS, '--dir', data, '--out', folder);
  await hears(first.child, 'run folder');
  await sleep(1500);
  first.child.kill('SIGKILL');
  await first.ended;
  // As a process leaves it that is killed while it writes.
  appendFileSync(join(folder, 'log.jsonl'), '{"event":"epo');
  const all = await Promise.all([0, 1].map(() => eli('train', '--resume', '--out', folder)));
  assert.equal(all.map(({ code }) => code).sort(), [0, 1], all.map(({ stderr }) => stderr).join('\n'));
  assert.match(all.find(({ code }) => code === 1)!.stderr, /in use by process \d+ on .*, since/);
  assert.is(readFileSync(join(folder, 'log.jsonl'), 'utf8').match(/\n/g)?.length, 2);
  sameAsWhole(folder);
});

test('a resume refuses by name what may not differ, and other data; what is free may differ', async () => {
  const folder = join(root, 'refusing');
  cpSync(whole, folder, { recursive: true });
  const resume = (...flags: string[]): Promise<Ended> => eli('train', '--resume', '--out', folder, ...flags);
  const refused = async (said: RegExp, ...flags: string[]): Promise<void> => {
    const { code, stderr } = await resume(...flags);
    assert.is(code, 2, stderr);
    assert.match(stderr, said);
  };
  await refused(/batch was 8, is now 16.*without these flags/s, '--batch', '16', '--epochs', '2');
  await refused(/began with other data: its training images, training labels/, '--dir', sample);
  sameAsWhole(folder);
  const { code, stderr } = await resume('--patience', '7', '--batch', '8');
  assert.is(code, 0, stderr);
  assert.is(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')).patience, 7);
  const without = await eli('train', '--resume');
  assert.is(without.code, 2);
  assert.match(without.stderr, /--resume needs --out/);
  const none = await eli('train', '--resume', '--out', join(root, 'none'));
  assert.is(none.code, 1);
  assert.ok(!existsSync(join(root, 'none')));
});

test('what is wrong before a run begins leaves no folder behind', async () => {
  const folder = join(root, 'not-begun');
  const { code, stderr } = await eli('train', '--data', 'cifar10', '--dir', root, '--out', folder);
  assert.is(code, 1, stderr);
  assert.ok(!existsSync(folder));
});

test('a hundred flipped bits in the data of a checkpoint, and a hundred anywhere: all refused', async () => {
  const bytes = readFileSync(checkpointPath(whole));
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
  const random = randomInts(13);
  const folder = join(root, 'flipped');
  mkdirSync(folder);
  const flip = (bit: number): void => {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  };
  for (let i = 0; i < 200; i++) {
    const first = i < 100 ? 8 + length : 0;
    const bit = 8 * first + random(8 * (bytes.length - first));
    const at = (bit >> 3) - 8 - length;
    flip(bit);
    writeFileSync(checkpointPath(folder), bytes);
    const name = Object.keys(header).find((key) => {
      const [from, to] = header[key].data_offsets ?? [0, 0];
      return from <= at && at < to;
    });
    const said = name === undefined ? /./ : new RegExp(`the checksum of tensor "${name}" does not match`);
    await fails(() => readTrainCheckpoint(folder), 'FORMAT', said, /checkpoint\.safetensors/);
    flip(bit);
  }
  decodeSafetensors(bytes);
});

test.run();
