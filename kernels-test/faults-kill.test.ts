// Runs that are killed (SIGKILL) or stopped (SIGINT, SIGTERM) at random moments, again and again: what they leave behind can be
// read, and resumed they end with the bytes of a run that was left alone. ELI_KILLS is the number of kills, default 8.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readCheckpoint } from '../src/experiments/mnist/checkpoint.ts';
import { readTrainCheckpoint } from '../src/experiments/train/checkpoint.ts';
import { randomInts, temporaryFolder } from './support/data.ts';
import { smallMnist, writeMnist } from './support/mnist.ts';

const KILLS = Number(process.env.ELI_KILLS ?? 8);
/** Kills of one run before it is left to end. */
const KILLS_PER_RUN = 4;

const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
const cifar = fileURLToPath(new URL('../data/cifar100', import.meta.url));
const root = temporaryFolder();
const data = join(root, 'data');
const random = randomInts(6);

interface Command {
  readonly name: readonly string[];
  /** A resume has none: the folder holds the config. */
  readonly flags: readonly string[];
  /** What must have the same bytes at the end. */
  readonly files: readonly string[];
  readonly checkpoint: (folder: string) => Promise<unknown>;
}

const MNIST: Command = {
  name: ['run', 'mnist'],
  flags:
    `--data ${data} --no-verify --no-pictures --epochs 3 --batch 32 --iterations 200 --curve-every 20 --hidden 32 --steps 5`.split(
      ' ',
    ),
  files: ['config.json', 'log.jsonl', 'checkpoint.safetensors', 'metrics.json', 'aligner.safetensors'],
  checkpoint: readCheckpoint,
};
const TRAIN: Command = {
  name: ['train'],
  flags:
    `--data cifar100 --dir ${cifar} --model cnn --no-pictures --epochs 6 --batch 16 --cutout 4 --ema-decay 0.9`.split(
      ' ',
    ),
  files: ['config.json', 'log.jsonl', 'checkpoint.safetensors', 'metrics.json', 'model.safetensors'],
  checkpoint: readTrainCheckpoint,
};

test.before(async () => writeMnist(data, await smallMnist(600, 200)));

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

/** Starts the command; `act` may kill it. */
async function run(command: Command, folder: string, act?: (child: ChildProcess) => void): Promise<Ended> {
  // A folder that holds nothing is a run that has not begun.
  const begun = existsSync(join(folder, 'config.json'));
  const flags = begun ? [...command.name, '--resume'] : [...command.name, ...command.flags];
  const child = spawn(process.execPath, [cli, ...flags, '--out', folder], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  act?.(child);
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, stderr })));
}

interface Times {
  /** Until the run has written its config, and until the end; in milliseconds. */
  begun: number;
  whole: number;
}

type Kill = (child: ChildProcess, folder: string, times: Times) => void;

const after = (child: ChildProcess, milliseconds: number, signal: NodeJS.Signals): void => {
  const timer = setTimeout(() => child.kill(signal), milliseconds);
  child.once('exit', () => clearTimeout(timer));
};
const between = (low: number, high: number): number => low + random(Math.max(1, Math.round(high - low)));

/** When to end a run: spread over its start, its work, and the writing of its files. */
const WAYS: Readonly<Record<string, Kill>> = {
  'SIGKILL while working': (child, _, { begun, whole }) => after(child, between(begun, whole), 'SIGKILL'),
  'SIGKILL while a file is written': (child, folder) => {
    let left = 1 + random(5);
    const watcher = watch(folder, (_event, name) => {
      if (name?.startsWith('.tmp-') !== true || --left > 0) return;
      if (random(2) === 0) child.kill('SIGKILL');
      else after(child, random(4), 'SIGKILL');
    });
    child.once('exit', () => watcher.close());
  },
  'SIGINT while working': (child, _, { begun, whole }) => after(child, between(begun, whole), 'SIGINT'),
  'SIGTERM while working': (child, _, { begun, whole }) => after(child, between(begun, whole), 'SIGTERM'),
  'SIGKILL while starting': (child, _, { begun }) => after(child, between(0, begun), 'SIGKILL'),
};

async function killAndResume(command: Command, name: string, kills: number): Promise<void> {
  const reference = join(root, `${name}-whole`);
  mkdirSync(reference);
  const times: Times = { begun: 0, whole: 0 };
  const start = performance.now();
  const whole = await run(command, reference, (child) => {
    const watcher = watch(reference, (_event, name) => {
      if (name !== 'config.json') return;
      times.begun = performance.now() - start;
      watcher.close();
    });
    child.once('exit', () => watcher.close());
  });
  times.whole = performance.now() - start;
  assert.is(whole.code, 0, whole.stderr);

  const ways = Object.keys(WAYS);
  const counts: Record<string, number> = { 'left a part of a file': 0, 'left no checkpoint': 0 };
  let [done, turn] = [0, 0];
  for (let n = 0; done < kills; n++) {
    const folder = join(root, `${name}-${n}`);
    mkdirSync(folder);
    let left = Math.min(KILLS_PER_RUN, kills - done);
    for (let tries = 0; left > 0 && tries < 3 * KILLS_PER_RUN; tries++) {
      const way = ways[turn++ % ways.length]!;
      const ended = await run(command, folder, (child) => WAYS[way]!(child, folder, times));
      // It was faster than the signal: nothing was killed, the next run resumes one that is done.
      if (ended.code === 0) continue;
      // By its signal where it came before the run listened, or after its end.
      const stopped = ended.code === 75 || ['SIGINT', 'SIGTERM', 'SIGKILL'].includes(ended.signal ?? '');
      assert.ok(stopped, `${way}: ${ended.code} ${ended.stderr}`);
      left--;
      done++;
      counts[way] = (counts[way] ?? 0) + 1;
      if (readdirSync(folder).some((file) => file.startsWith('.tmp-'))) counts['left a part of a file']!++;
      if ((await command.checkpoint(folder)) === undefined) counts['left no checkpoint']!++;
    }
    const ended = await run(command, folder);
    assert.is(ended.code, 0, ended.stderr);
    for (const file of command.files) {
      const [got, want] = [folder, reference].map((from) => readFileSync(join(from, file)));
      assert.ok(got!.equals(want!), `${file} of run ${n} has other bytes than that of the run left alone`);
    }
    assert.equal(readdirSync(folder).sort(), readdirSync(reference).sort(), 'nothing else is left behind');
  }
  if (process.env.ELI_KILLS !== undefined) console.log(`${name}: ${done} kills`, counts);
}

test(`eli run mnist, killed ${Math.ceil(KILLS / 2)} times`, () =>
  killAndResume(MNIST, 'mnist', Math.ceil(KILLS / 2)));
test(`eli train, killed ${Math.floor(KILLS / 2)} times`, () =>
  killAndResume(TRAIN, 'train', Math.floor(KILLS / 2)));

test.run();
