// Event files for TensorBoard, read back by a decoder of the test's own, and metrics.csv: what the log says and nothing
// else, nothing twice after a stop, a kill or damage.
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mnistConfig } from '../src/experiments/mnist/config.ts';
import { runMnistSeeds } from '../src/experiments/mnist/seeds.ts';
import type { RunOptions } from '../src/experiments/session.ts';
import { trainConfig } from '../src/experiments/train/config.ts';
import { train } from '../src/experiments/train/run.ts';
import { eventsCsv } from '../src/report/csv.ts';
import { EventFile } from '../src/report/event-file.ts';
import { silentProgress } from '../src/report/progress.ts';
import type { RunEvent } from '../src/report/run-log.ts';
import { TensorBoard } from '../src/report/tensorboard.ts';
import { bars } from './support/bars.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { smallMnist } from './support/mnist.ts';
import { crc32c, type ReadEvent, type ReadImage, readEvents } from './support/tfevents.ts';

const engine = await openEngine();
test.after(closeEngine);
const root = temporaryFolder();

function newFolder(...names: string[]): string {
  const folder = join(root, ...names);
  mkdirSync(folder, { recursive: true });
  return folder;
}

const FILE = 'events.out.tfevents.eli';
const eventsIn = (folder: string): ReadEvent[] => readEvents(readFileSync(join(folder, FILE)));
const logOf = (folder: string): RunEvent[] =>
  readFileSync(join(folder, 'log.jsonl'), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line));

/** Step, tag and value of all numbers, in the order of the file. */
function numbersIn(folder: string): [number, string, number][] {
  return eventsIn(folder).flatMap(({ step, values = {} }) =>
    Object.entries(values).flatMap(([tag, value]): [number, string, number][] =>
      typeof value === 'number' ? [[step, tag, value]] : [],
    ),
  );
}
/** The same without speeds, which differ from run to run. */
const figuresIn = (folder: string) => numbersIn(folder).filter(([, tag]) => !tag.endsWith('PerSecond'));

test('the decoder: check values of CRC-32C, and a file that TensorBoard has written', () => {
  assert.is(crc32c(Buffer.from('123456789')), 0xe3069283);
  // RFC 3720, B.4.
  assert.is(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.is(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
  assert.is(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  // By the RecordWriter and the messages of TensorBoard 2.22.0a0.
  const theirs = Buffer.from(
    '1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c' +
      '2e00000000000000c5cb57fa09000000000000044010ac022a200a0d0a06612f6c6f7373150000803e0a0f0a0170220a08021003220489504e47be5e234b',
    'hex',
  );
  const image = { height: 2, width: 3, encoded: Buffer.from('\x89PNG', 'latin1') };
  assert.equal(readEvents(theirs), [
    { wallTime: 1.5, step: 0, version: 'brain.Event:2' },
    { wallTime: 2.5, step: 300, values: { 'a/loss': 0.25, p: image } },
  ]);
  theirs[20]! ^= 1;
  assert.throws(() => readEvents(theirs), /checksum/);
});

test('an event file holds what was written, and begins as theirs do', () => {
  const path = join(newFolder('format'), 'x.tfevents');
  const file = new EventFile(path, 0);
  const image = { width: 300, height: 2, encoded: Buffer.alloc(70_000, 7) };
  const before = Date.now() / 1000;
  file.write(3, [
    { tag: 'a/b', value: 0.1 },
    { tag: 'Größe', value: Number.NaN },
  ]);
  file.write(127, [{ tag: 'c', value: Number.NEGATIVE_INFINITY }]);
  file.write(128, []);
  file.write(2 ** 40 + 1, [{ tag: 'picture', value: image }]);
  assert.is(file.length, 4);
  file.close();
  const bytes = readFileSync(path);
  assert.is(bytes.toString('hex', 0, 12), '1800000000000000a37f4b22');
  const [version, ...events] = readEvents(bytes);
  assert.is(version!.version, 'brain.Event:2');
  assert.equal(
    events.map(({ step, values }) => ({ step, values })),
    [
      { step: 3, values: { 'a/b': Math.fround(0.1), Größe: Number.NaN } },
      { step: 127, values: { c: Number.NEGATIVE_INFINITY } },
      { step: 128, values: {} },
      { step: 2 ** 40 + 1, values: { picture: image } },
    ],
  );
  for (const { wallTime } of events) assert.ok(wallTime >= before && wallTime <= Date.now() / 1000);
});

const LOG = [1, 2, 3].map((epoch) => ({ event: 'epoch', task: 1, epoch, loss: 1 / epoch }));
const LOGGED = LOG.map(({ epoch, loss }) => [epoch, 'task1/loss', Math.fround(loss)]);

test('a file cut off anywhere, or with a byte changed, is completed from the log', () => {
  const folder = newFolder('damaged');
  const path = join(folder, FILE);
  const fill = (): void => new TensorBoard(folder, LOG).close();
  fill();
  assert.equal(numbersIn(folder), LOGGED);
  const whole = readFileSync(path);
  for (let at = 0; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at]! ^= 255;
    for (const bytes of [whole.subarray(0, at), changed]) {
      writeFileSync(path, bytes);
      fill();
      assert.equal(numbersIn(folder), LOGGED, `at ${at}`);
      assert.is(eventsIn(folder).length, 4);
    }
  }
});

test('what the file holds beyond the log is cut off, pictures too', async () => {
  const folder = newFolder('beyond');
  const gif = Buffer.concat([Buffer.from('GIF89a'), Buffer.from([44, 1, 2, 0, 0])]);
  writeFileSync(join(folder, 'moving.gif'), gif);
  writeFileSync(join(folder, 'notes.txt'), 'no picture');
  for (const events of [LOG, LOG.slice(0, 2), LOG.slice(0, 1)]) {
    const board = new TensorBoard(folder, events);
    await board.addPictures();
    board.close();
    assert.equal(numbersIn(folder), LOGGED.slice(0, events.length));
    const pictures = eventsIn(folder).slice(1 + events.length);
    assert.equal(
      pictures.map(({ values }) => values),
      [{ 'pictures/moving': { width: 300, height: 2, encoded: gif } }],
    );
  }
  rmSync(join(folder, FILE));
  mkdirSync(join(folder, FILE));
  await fails(() => new TensorBoard(folder, LOG), 'FILE', /it is a folder, not a file/);
});

test('only figures are shown, those that are not finite too, and what was measured', () => {
  const folder = newFolder('figures');
  const board = new TensorBoard(folder, [{ event: 'fit', iteration: 5, loss: 'NaN', note: 'x', curve: [1] }]);
  board.write({ event: 'fit', iteration: 10, loss: Number.POSITIVE_INFINITY }, { iterationsPerSecond: 7 });
  board.write({ event: 'metrics', seed: 4, latent: 32, aligned: 50 });
  board.close();
  assert.equal(numbersIn(folder), [
    [5, 'fit/loss', Number.NaN],
    [10, 'fit/loss', Number.POSITIVE_INFINITY],
    [10, 'fit/iterationsPerSecond', 7],
    [0, 'metrics/aligned', 50],
  ]);
});

test('metrics.csv: a row for each epoch or iteration, a column for each figure', () => {
  const events = [
    { event: 'epoch', epoch: 1, loss: 0.5 },
    { event: 'fit', iteration: 10, loss: 'NaN', accuracy: 1e-7, note: 'a "b", c' },
    { event: 'metrics', aligned: 50 },
  ];
  assert.is(
    eventsCsv(events),
    'event,epoch,loss,iteration,accuracy,note\nepoch,1,0.5,,,\nfit,,NaN,10,1e-7,"a ""b"", c"\n',
  );
  assert.is(eventsCsv([]), '\n');
});

const data = { train: bars(400, 1), test: bars(90, 2), source: 'bars' };
const config = trainConfig({ model: 'cnn', epochs: 3, batch: 32, learningRate: 0.05 });

function training(folder: string, options: Partial<RunOptions> = {}) {
  const run = { folder, resume: false, progress: silentProgress, pictures: false, tensorboard: true };
  return train(engine, config, data, { ...run, ...options });
}

/** What the board shows of a training's log. */
const figuresOf = (log: readonly RunEvent[]) =>
  log.flatMap(({ event, epoch, ...figures }) =>
    Object.entries(figures).map(([key, value]) => [epoch, `${event}/${key}`, Math.fround(value as number)]),
  );

const whole = newFolder('whole');
test('a training: losses, rate, accuracies and speed of each epoch', async () => {
  await training(whole);
  const log = logOf(whole);
  assert.equal(Object.keys(log[0]!), ['event', 'epoch', 'rate', 'trainLoss', 'testLoss', 'top1']);
  assert.equal(figuresIn(whole), figuresOf(log));
  const speeds = numbersIn(whole).filter(([, tag]) => tag === 'epoch/imagesPerSecond');
  assert.equal(
    speeds.map(([step]) => step),
    [1, 2, 3],
  );
  assert.ok(speeds.every(([, , value]) => value > 0 && value < 1e7));
  const rows = log.map((event) => `${Object.values(event).join(',')}\n`);
  assert.is(
    readFileSync(join(whole, 'metrics.csv'), 'utf8'),
    `event,epoch,rate,trainLoss,testLoss,top1\n${rows.join('')}`,
  );
});

test('stopped, or killed before its checkpoint, and resumed: the same figures, none twice', async () => {
  const sameAsWhole = (folder: string): void => {
    assert.equal(figuresIn(folder), figuresIn(whole));
    for (const file of ['log.jsonl', 'metrics.csv'])
      assert.is(readFileSync(join(folder, file), 'utf8'), readFileSync(join(whole, file), 'utf8'), file);
  };
  const stopped = newFolder('stopped');
  const stop = new AbortController();
  const progress: RunOptions['progress'] = (label) => ({
    update: () => {},
    done: () => label.startsWith('epoch 2') && stop.abort(),
  });
  await fails(() => training(stopped, { progress, signal: stop.signal }), 'ABORTED');
  await training(stopped, { resume: true });
  sameAsWhole(stopped);

  // The checkpoint of epoch 2 fails: its event is in the log and on the board, and is written again.
  const killed = newFolder('killed');
  let writes = 0;
  const guard = (): void => {
    if (logOf(killed).length === 2 && writes++ === 0) throw new Error('killed');
  };
  const error = await training(killed, { guard }).catch((thrown: Error) => thrown.message);
  assert.is(error, 'killed');
  assert.is(figuresIn(killed).at(-1)![0], 2);
  await training(killed, { resume: true });
  sameAsWhole(killed);

  // Switched on later: the log's epochs are there, without their speeds.
  const late = newFolder('late');
  await training(late, { tensorboard: false });
  assert.throws(() => eventsIn(late));
  await training(late, { resume: true });
  sameAsWhole(late);
});

test('eli train --tensorboard: pictures too; a resume keeps it up without the flag', () => {
  const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
  const sample = fileURLToPath(new URL('../data/cifar100', import.meta.url));
  const folder = join(root, 'command');
  const eli = (...flags: string[]): void => {
    const { status, stderr } = spawnSync(process.execPath, [cli, 'train', ...flags, '--out', folder], {
      encoding: 'utf8',
    });
    assert.is(status, 0, stderr);
  };
  const check = (): void => {
    assert.equal(figuresIn(folder), figuresOf(logOf(folder)));
    const images = eventsIn(folder).flatMap(({ values = {} }) =>
      Object.entries(values).filter((entry): entry is [string, ReadImage] => typeof entry[1] === 'object'),
    );
    assert.equal(
      images.map(([tag]) => tag),
      ['pictures/confusion', 'pictures/training'],
    );
    for (const [tag, { width, height, encoded }] of images) {
      assert.ok(encoded.equals(readFileSync(join(folder, `${tag.split('/')[1]}.png`))), tag);
      const svg = readFileSync(join(folder, `${tag.split('/')[1]}.svg`), 'utf8');
      const [, w, h] = /width="(\d+)" height="(\d+)"/.exec(svg)!;
      assert.equal([width, height], [2 * Number(w), 2 * Number(h)], tag);
    }
  };
  eli(...'--data cifar100 --model cnn --epochs 2 --batch 8 --tensorboard --dir'.split(' '), sample);
  check();
  eli('--resume');
  check();
});

test('run mnist: each seed has its board, the run has the pictures of all', async () => {
  const folder = newFolder('mnist');
  const small = await smallMnist(1000, 200);
  const settings = mnistConfig({ epochs: 2, iterations: 60, curveEvery: 20, seeds: 2, seed: 3 });
  const run = { folder, resume: false, progress: silentProgress, pictures: true, tensorboard: true };
  await runMnistSeeds(engine, settings, small, { ...run, report: 'short' });
  for (const seed of [3, 4]) {
    const own = join(folder, `seed-${seed}`);
    const figures = figuresIn(own);
    assert.equal(
      figures.filter(([, tag]) => !tag.startsWith('metrics/')).map(([step, tag]) => `${tag} ${step}`),
      [
        ...['task1/loss 1', 'task1/loss 2', 'task2/loss 1', 'task2/loss 2'],
        ...[20, 40, 60].flatMap((i) => [`fit/loss ${i}`, `fit/accuracy ${i}`]),
      ],
    );
    const metrics = JSON.parse(readFileSync(join(own, 'metrics.json'), 'utf8'));
    const aligned = figures.find(([, tag]) => tag === 'metrics/aligned')!;
    assert.is(aligned[2], Math.fround(metrics.aligned));
    assert.is(numbersIn(own).filter(([, tag]) => tag.endsWith('PerSecond')).length, 7);
    const pictures = eventsIn(own).slice(-5);
    assert.equal(
      pictures.flatMap(({ values }) => Object.keys(values!)),
      ['alignment', 'curve', 'energies', 'latents', 'tradeoff'].map((name) => `pictures/${name}`),
    );
    assert.is(readFileSync(join(own, 'metrics.csv'), 'utf8').split('\n').length, 1 + 4 + 3 + 1);
  }
  assert.equal(
    eventsIn(folder)
      .slice(1)
      .flatMap(({ values }) => Object.keys(values!)),
    ['pictures/curve', 'pictures/tradeoff'],
  );
});

test.run();
