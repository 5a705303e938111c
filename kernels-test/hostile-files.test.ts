// Damaged and hostile files for every reader: each is read or refused with an EliError that fits; none crashes, hangs,
// takes much memory, changes a prototype or writes anywhere. ELI_FUZZ is the number of files over all readers (default
// 12,000), ELI_FUZZ_SEED where they start.
import './support/meter.ts';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { parseTuning } from '../src/bench/tuning-file.ts';
import { readBench } from '../src/cli/bench-report.ts';
import { loadCifar, parseCifar } from '../src/data/cifar.ts';
import { parseIdx, unpackIdx } from '../src/data/idx.ts';
import { ImageSamples } from '../src/data/image-samples.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import {
  EnergyGate,
  type Gate,
  NoveltyGate,
  StatisticsGate,
  SumGate,
  TaskStatistics,
  TransformGate,
} from '../src/eli/gates/all.ts';
import { loadGate, saveGate } from '../src/eli/gates/file.ts';
import { fitMap } from '../src/eli/maps/closed-forms.ts';
import { loadMap } from '../src/eli/maps/load.ts';
import { type AlignerOptions, alignerConfig } from '../src/eli/options.ts';
import { checkpointPath } from '../src/experiments/checkpoint.ts';
import { readCheckpoint, writeCheckpoint } from '../src/experiments/mnist/checkpoint.ts';
import { mnistConfig } from '../src/experiments/mnist/config.ts';
import { taskTrainer, twoTaskModel } from '../src/experiments/mnist/two-task.ts';
import { readTrainCheckpoint, writeTrainCheckpoint } from '../src/experiments/train/checkpoint.ts';
import { trainConfig } from '../src/experiments/train/config.ts';
import { readConfig } from '../src/files/config-file.ts';
import { npyHeader } from '../src/files/npy.ts';
import { decodeSafetensors, encodeSafetensors } from '../src/files/safetensors.ts';
import { RunLog } from '../src/report/run-log.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { bars } from './support/bars.ts';
import { idxBytes, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { damagedFiles, fuzz, mutateBytes, mutateJson, mutateTensors, type Reader } from './support/fuzz.ts';
import { fromBase64, NUMPY_NPY, NUMPY_NPZ, readAll } from './support/latents.ts';
import { zip } from './support/zip.ts';

const FILES = Number(process.env.ELI_FUZZ ?? 12_000);
const SEED = Number(process.env.ELI_FUZZ_SEED ?? 2203);

const engine = await openEngine();
test.after(closeEngine);

const root = temporaryFolder();
const folder = join(root, 'inner');
mkdirSync(folder);
// Where nothing but these readers could write.
const work = join(root, 'work');
mkdirSync(work);
process.chdir(work);
let number = 0;

/** Writes a file, has it read, removes it. A new name each time: some file systems write at once what replaces a file. */
const onDisk =
  (extension: string, read: (path: string) => unknown) =>
  async (bytes: Uint8Array): Promise<void> => {
    const path = join(folder, `${number++}${extension}`);
    writeFileSync(path, bytes);
    try {
      await read(path);
    } finally {
      rmSync(path);
    }
  };

/** The same for what is read from a folder, in which the file has a name of its own. */
const inFolder =
  (pathIn: (folder: string) => string, read: (folder: string) => unknown) =>
  async (bytes: Uint8Array): Promise<void> => {
    const home = join(folder, String(number++));
    mkdirSync(home);
    writeFileSync(pathIn(home), bytes);
    try {
      await read(home);
    } finally {
      rmSync(home, { recursive: true });
    }
  };

/** Damage to bytes or to the content, of one of these safetensors files. */
const damagedTensors = (...files: readonly Uint8Array[]): Reader['damaged'] => {
  const decoded = files.map((bytes) => decodeSafetensors(bytes));
  return (random) => {
    const i = random(files.length);
    return random(4) === 0 ? mutateBytes(files[i]!, random) : mutateTensors(decoded[i]!, random);
  };
};

const damagedJson =
  (...values: readonly unknown[]): Reader['damaged'] =>
  (random) =>
    Buffer.from(mutateJson(JSON.stringify(values[random(values.length)]), random));

// --- files of the right kind, which are then damaged --------------------------------------------------------------

const images = idxBytes(
  [3, 4, 5],
  Array.from({ length: 60 }, (_, i) => i),
);
const labels = idxBytes([5], [1, 2, 3, 4, 5]);

/** Records of CIFAR with these labels. */
const records = (...labelsOf: readonly (readonly number[])[]): Uint8Array =>
  Uint8Array.from(
    labelsOf.flatMap((of, k) => [...of, ...Array.from({ length: 3072 }, (_, i) => (i + k) % 256)]),
  );

const floats = new Uint8Array(Float32Array.from({ length: 6 }, (_, i) => i).buffer);
const array = Buffer.concat([npyHeader([2, 3]), floats]);
/** Members whose names lead out of the folder, had anybody the idea to unpack them. */
const escaping = zip(['../../escaped.npy', '/tmp/escaped.npy', 'z.npy'], array);

const mixed = encodeSafetensors(
  {
    'base.weight': { dtype: 'F32', shape: [3, 2], data: new Float32Array(6) },
    step: { dtype: 'I64', shape: [], data: new BigInt64Array(1) },
    mask: { dtype: 'U8', shape: [3], data: new Uint8Array(3) },
  },
  { config: '{"d":32}' },
);
const latents = encodeSafetensors({
  z: { dtype: 'F32', shape: [3, 2], data: Float32Array.of(1, 2, 3, 4, 5, 6) },
  h: { dtype: 'F16', shape: [2, 2], data: Uint16Array.of(1, 2, 3, 4) },
});

const x = engine.keep(randomNormal(engine, [64, 4], { seed: 1 }));
const y = engine.keep(randomNormal(engine, [64, 4], { seed: 2 }));
const classes = Uint8Array.from({ length: 64 }, (_, i) => i % 2);

/** The bytes of a file that is written to a folder under a name of its own. */
async function bytesIn(
  pathIn: (folder: string) => string,
  write: (folder: string) => Promise<void>,
): Promise<Uint8Array> {
  const home = join(folder, String(number++));
  mkdirSync(home);
  await write(home);
  const bytes = new Uint8Array(readFileSync(pathIn(home)));
  rmSync(home, { recursive: true });
  return bytes;
}

/** The bytes of a file that is written to a path. */
const bytesOf = (write: (path: string) => Promise<void>): Promise<Uint8Array> =>
  bytesIn(
    (home) => join(home, 'file'),
    (home) => write(join(home, 'file')),
  );

async function fittedAligner(
  options: AlignerOptions,
): Promise<{ bytes: Uint8Array; aligner: EnergyAligner }> {
  const small = { iterations: 2, batch: 16, hidden: 8, steps: 2, ...options };
  const aligner = await EnergyAligner.fit(engine, { previous: x, current: y }, small, { every: 1 });
  return { bytes: await bytesOf((path) => aligner.save(path)), aligner };
}
const original = await fittedAligner({});
const fromRidge = await fittedAligner({ start: 'ridge', layers: 2 });

const controls = await Promise.all(
  (['ridge', 'mean-shift'] as const).map(async (name) => {
    const control = await fitMap(name, { previous: x, current: y });
    return bytesOf((path) => control.save(path));
  }),
);

const statistics = await TaskStatistics.collect(x, classes, { dimensions: 2 });
const batch = { inputs: x, current: y, aligned: y, labels: classes };
async function gateBytes(gate: Gate): Promise<Uint8Array> {
  await gate.fit(batch);
  const energy = engine.keep(randomNormal(engine, [64], { seed: 3 }));
  await gate.calibrate({ ...batch, energy }, 0.9);
  energy.dispose();
  return bytesOf((path) => saveGate(path, gate));
}
const transforms = { side: 2, pool: 1, hidden: [3], steps: 1, batch: 4 };
const gates: Uint8Array[] = [];
for (const gate of [
  new EnergyGate(),
  new NoveltyGate({ dimensions: 2 }),
  new StatisticsGate(statistics),
  new TransformGate(transforms),
  new SumGate([new EnergyGate(), new NoveltyGate({ of: 'current', covariance: 'shared' })]),
])
  gates.push(await gateBytes(gate));

const mnist = mnistConfig({ latent: 4, epochs: 2, iterations: 2, batch: 16, hidden: 8 });
const { net, optimizer } = twoTaskModel(engine, mnist, 64);
const trainer = taskTrainer(net, optimizer, 1, new ImageSamples(engine, bars(32, 1)), mnist);
const classifier = await trainer.state();
const start = {
  config: mnist,
  classifier,
  epochs: [2, 1] as const,
  losses: [2.5, 2.25],
  curve: [],
  logLength: 7,
};
const end = {
  ...start,
  losses: [],
  afterTask1: await net.stateDict(),
  aligner: await original.aligner.state(),
  curve: [{ iteration: 1, accuracy: 50 }],
};
const checkpoints: Uint8Array[] = [];
for (const checkpoint of [start, end])
  checkpoints.push(await bytesIn(checkpointPath, (home) => writeCheckpoint(home, checkpoint)));

const flat = { shape: [3], data: Float32Array.of(1, 2, 3) };
const training = await bytesIn(checkpointPath, (home) =>
  writeTrainCheckpoint(home, {
    config: trainConfig({ epochs: 4 }),
    trainer: { step: 9, model: { 'fc.weight': flat }, optimizer: { hyper: flat } },
    points: [{ epoch: 1, trainLoss: 1, testLoss: 1, testAccuracy: 50 }],
    losses: [],
    logLength: 2,
  }),
);

const statisticsFile = await bytesOf((path) => statistics.save(path));
const log = [{ event: 'epoch', epoch: 1, loss: 0.5 }, { event: 'metrics', curve: [1, 2] }, { event: 'end' }]
  .map((event) => `${JSON.stringify(event)}\n`)
  .join('');
const rows = [1, 2].map((k) => ({ name: `op ${k}`, low: k, median: k, high: k, unit: 'runs' }));
const tuning = { version: 1, adapters: { 'a | b': { 'matmul 64 64 64': 'tiled' }, 'c | d': {} } };

// --- readers ------------------------------------------------------------------------------------------------------

const CODES_OF_NUMBERS = ['FORMAT', 'NON_FINITE'];

const READERS: readonly Reader[] = [
  { name: 'IDX', share: 8, damaged: damagedFiles(images, labels), read: (bytes) => parseIdx(bytes, 'x') },
  {
    name: 'IDX, gzipped',
    share: 6,
    damaged: damagedFiles(gzipSync(images), gzipSync(labels), gzipSync(images, { level: 0 })),
    read: async (bytes) => parseIdx(await unpackIdx(bytes, 'x'), 'x'),
  },
  {
    name: 'CIFAR-10',
    share: 4,
    damaged: damagedFiles(records([3], [9])),
    read: (bytes) => parseCifar(bytes, 'cifar10', 'x'),
  },
  {
    name: 'CIFAR-100',
    share: 4,
    damaged: damagedFiles(records([3, 99], [19, 0])),
    read: (bytes) => parseCifar(bytes, 'cifar100', 'x'),
  },
  {
    name: 'a folder of CIFAR-100',
    share: 2,
    damaged: damagedFiles(Buffer.from(Array.from({ length: 100 }, (_, i) => `class ${i}\n`).join(''))),
    read: inFolder(
      (home) => join(home, 'fine_label_names.txt'),
      (home) => {
        for (const name of ['train.bin', 'test.bin']) writeFileSync(join(home, name), records([3, 99]));
        return loadCifar(home, 'cifar100');
      },
    ),
  },
  {
    name: '.npy',
    share: 10,
    damaged: damagedFiles(...Object.values(NUMPY_NPY).map(fromBase64)),
    // A flipped bit in the data can make a number infinite: that is said with a code of its own.
    read: onDisk('.npy', (path) => readAll(path, 2)),
    codes: CODES_OF_NUMBERS,
  },
  {
    name: '.npz',
    share: 10,
    damaged: damagedFiles(...Object.values(NUMPY_NPZ).map(fromBase64), escaping),
    read: onDisk('.npz', (path) => readAll(`${path}:z`, 2)),
    codes: CODES_OF_NUMBERS,
  },
  {
    name: 'latents in .safetensors',
    share: 6,
    damaged: damagedTensors(latents),
    read: onDisk('.safetensors', (path) => readAll(`${path}:z`, 2)),
    codes: CODES_OF_NUMBERS,
  },
  {
    name: 'safetensors',
    share: 10,
    damaged: damagedTensors(mixed, encodeSafetensors({})),
    read: (bytes) => decodeSafetensors(bytes),
  },
  {
    name: 'an aligner',
    share: 4,
    damaged: damagedTensors(original.bytes, fromRidge.bytes),
    read: onDisk('', async (path) => (await EnergyAligner.load(engine, path)).dispose()),
  },
  {
    name: 'a control',
    share: 3,
    damaged: damagedTensors(...controls),
    read: onDisk('', (path) => loadMap(engine, path)),
  },
  {
    name: 'a gate',
    share: 8,
    damaged: damagedTensors(...gates),
    read: onDisk('', loadGate),
  },
  {
    name: 'statistics of a task',
    share: 4,
    damaged: damagedTensors(statisticsFile),
    read: onDisk('', async (path) => new StatisticsGate(await TaskStatistics.load(path))),
  },
  {
    name: 'a checkpoint of the MNIST experiment',
    share: 6,
    damaged: damagedTensors(...checkpoints),
    read: inFolder(checkpointPath, async (home) => {
      const checkpoint = await readCheckpoint(home);
      trainer.load(checkpoint!.classifier);
    }),
    // The network says itself what does not fit it.
    codes: ['FORMAT', 'SHAPE'],
  },
  {
    name: 'a checkpoint of a training',
    share: 4,
    damaged: damagedTensors(training),
    read: inFolder(checkpointPath, readTrainCheckpoint),
  },
  {
    name: 'a log',
    share: 3,
    damaged: damagedFiles(Buffer.from(log)),
    read: onDisk('.jsonl', (path) => new RunLog(path, { resume: true }).close()),
  },
  {
    name: 'a config of eli run',
    share: 4,
    damaged: damagedJson(mnist),
    read: onDisk('.json', (path) => mnistConfig(readConfig(path))),
    codes: ['CONFIG'],
  },
  {
    name: 'a config of eli train',
    share: 4,
    damaged: damagedJson(trainConfig({}), trainConfig({ data: 'cifar100', schedule: 'multi-step' })),
    read: onDisk('.json', (path) => trainConfig(readConfig(path))),
    codes: ['CONFIG'],
  },
  {
    name: 'options of an aligner',
    share: 3,
    damaged: damagedJson(alignerConfig({})),
    read: onDisk('.json', (path) => alignerConfig(readConfig(path))),
    codes: ['CONFIG'],
  },
  { name: 'a tuning file', share: 5, damaged: damagedJson(tuning), read: (bytes) => parseTuning(bytes, 'x') },
  {
    name: 'figures of eli bench',
    share: 2,
    damaged: damagedJson({ rows }),
    read: onDisk('.json', readBench),
    codes: ['FILE'],
  },
];

const shares = READERS.reduce((sum, { share }) => sum + share, 0);
const elsewhere = (): string[] =>
  [work, root, join(root, '..', 'escaped.npy'), '/tmp/escaped.npy'].flatMap((path) =>
    path.endsWith('.npy') ? [String(existsSync(path))] : readdirSync(path),
  );

for (const reader of READERS) {
  const files = Math.ceil((FILES * reader.share) / shares);
  test(`${reader.name}: ${files} damaged files`, async () => {
    const before = { elsewhere: elsewhere(), memory: engine.memory };
    const { refused, share, slowest } = await fuzz(reader, files, SEED);
    assert.equal(elsewhere(), before.elsewhere, 'nothing is written');
    assert.equal(readdirSync(folder), [], 'nothing is left');
    assert.equal(engine.memory.inUse, before.memory.inUse, 'nothing is kept on the device');
    if (process.env.ELI_FUZZ !== undefined) {
      const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;
      console.log(
        `${reader.name}: ${files} files, ${percent(refused / files)} refused, slowest ${slowest.toFixed(0)} ms, ` +
          `most memory ${percent(share)} of the limit`,
      );
    }
  });
}

test.run();
