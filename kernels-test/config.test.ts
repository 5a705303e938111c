// Tables of config keys: what they accept, complete, compare and pick; their flags; and that each key of an aligner is
// reachable from the commands.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addConfigFlags, flagOf, givenConfig } from '../src/cli/flags.ts';
import { addRunMnist } from '../src/cli/run-mnist.ts';
import {
  ConfigTable,
  choice,
  flag,
  type Key,
  type Keys,
  number,
  numbers,
  type Values,
  whole,
} from '../src/config.ts';
import { ALIGNER_DEFAULTS, ALIGNER_KEYS, alignerConfig } from '../src/eli/options.ts';
import { alignerOptions, MNIST_KEYS, mnistConfig } from '../src/experiments/mnist/config.ts';
import { TRAIN_KEYS, trainConfig } from '../src/experiments/train/config.ts';
import { fails, temporaryFolder } from './support/data.ts';

const TABLE = new ConfigTable('knob', {
  double: whole('twice the size', {
    default: ({ size }) => 2 * Number(size),
    defaultText: 'twice size',
    from: 0,
  }),
  size: whole('how large', { default: 3, from: 1, to: 8 }),
  rate: number('how fast', { default: 0.5, from: 0, below: 1, free: true }),
  shape: choice('of which shape', ['round', 'square'], { default: 'round' }),
  quiet: flag('whether to be quiet', { default: false }),
  list: numbers('some numbers', { default: [1, 2] }),
});
const DEFAULTS = { double: 6, size: 3, rate: 0.5, shape: 'round', quiet: false, list: [1, 2] } as const;

const folder = temporaryFolder();

test('what is missing or undefined takes its default, in the order of the table', () => {
  assert.equal(TABLE.complete({}), DEFAULTS);
  assert.is(
    JSON.stringify(TABLE.complete({ list: undefined, rate: 0 })),
    JSON.stringify({ ...DEFAULTS, rate: 0 }),
  );
  assert.equal(TABLE.complete(TABLE.complete({ quiet: true })), { ...DEFAULTS, quiet: true });
});

test('a default may be made of another key, also of one that follows', () => {
  assert.is(TABLE.complete({ size: 5 }).double, 10);
  assert.is(TABLE.complete({ size: 5, double: 1 }).double, 1);
});

test('what a key does not accept is refused, naming key, value and range', async () => {
  const whole = 'must be a whole number from 1 to 8';
  const list = 'must be a list of numbers';
  for (const [part, message] of [
    [{ size: 0 }, `knob size is 0, ${whole}`],
    [{ size: 9 }, `knob size is 9, ${whole}`],
    [{ size: 1.5 }, `knob size is 1.5, ${whole}`],
    [{ size: Number.NaN }, `knob size is NaN, ${whole}`],
    [{ size: null }, `knob size is null, ${whole}`],
    [{ size: [3] }, `knob size is [3], ${whole}`],
    [{ size: '3' }, `knob size is "3", ${whole}`],
    [{ double: 2 ** 53 }, 'knob double is 9007199254740992, must be a whole number from 0 to 2^53 - 1'],
    [{ rate: 1 }, 'knob rate is 1, must be a number from 0 to below 1'],
    [{ rate: -1e-9 }, 'knob rate is -1e-9, must be a number from 0 to below 1'],
    [{ rate: Number.POSITIVE_INFINITY }, 'knob rate is Infinity, must be a number from 0 to below 1'],
    [{ rate: true }, 'knob rate is true, must be a number from 0 to below 1'],
    [{ shape: 'oval' }, 'knob shape is "oval", must be one of round, square'],
    [{ shape: null }, 'knob shape is null, must be one of round, square'],
    [{ quiet: 'yes' }, 'knob quiet is "yes", must be true or false'],
    [{ quiet: 0 }, 'knob quiet is 0, must be true or false'],
    [{ list: [1, Number.NaN] }, `knob list is [1,null], ${list}`],
    [{ list: 1 }, `knob list is 1, ${list}`],
    [{ list: null }, `knob list is null, ${list}`],
    [null, 'the knobs are null, must be an object'],
    [[], 'the knobs are [], must be an object'],
    ['size', 'the knobs are "size", must be an object'],
  ] as [unknown, string][]) {
    await fails(() => TABLE.complete(part), 'CONFIG', new RegExp(`^${message.replace(/[[\]^]/g, '\\$&')}$`));
  }
});

test('an unknown key is refused with the one that may be meant, or all', async () => {
  for (const [name, near] of [
    ['siez', 'size'],
    ['sizes', 'size'],
    ['Shape', 'shape'],
    ['dou-ble', 'double'],
  ] as const) {
    await fails(
      () => TABLE.complete({ [name]: 1 }),
      'CONFIG',
      new RegExp(`^unknown knob ${name}\n.*did you mean ${near}\\?$`),
    );
  }
  for (const name of ['colour', '', 'constructor', '__proto__', 'x'.repeat(1e6)]) {
    const part: unknown = JSON.parse(`{"${name}": 1}`);
    await fails(() => TABLE.complete(part), 'CONFIG', /^unknown knob/, /known: double, size, rate, shape/);
  }
});

test('differences leave out free keys and see inside lists', () => {
  const now = TABLE.complete({ size: 4, rate: 0.25, list: [1, 3], shape: 'square' });
  assert.equal(TABLE.differences(DEFAULTS, now), [
    'double was 6, is now 8',
    'size was 3, is now 4',
    'shape was "round", is now "square"',
    'list was [1,2], is now [1,3]',
  ]);
  assert.equal(TABLE.differences(DEFAULTS, TABLE.complete({ rate: 0.25 })), []);
  for (const [table, free] of [
    [MNIST_KEYS, ['seeds', 'gateQuantile', 'statisticsQuantile']],
    [TRAIN_KEYS, ['patience']],
    [ALIGNER_KEYS, []],
  ] as [{ keys: Keys }, string[]][]) {
    assert.equal(
      Object.keys(table.keys).filter((name) => table.keys[name]!.free === true),
      free,
    );
  }
});

test('the MNIST experiment holds all keys of an aligner and hands them on', async () => {
  const others = {
    hidden: 8,
    stepSize: 0.2,
    energyL2: 3,
    start: 'ridge',
    variant: 'plain',
    batch: 16,
  } as const;
  const config = mnistConfig({ ...others, learningRate: 0.3, alignerLearningRate: 0.01, seed: 7, latent: 8 });
  assert.equal(alignerOptions(config), {
    ...ALIGNER_DEFAULTS,
    ...others,
    learningRate: 0.01,
    seed: 7,
    iterations: 8_500,
    emaDecay: 0.89,
  });
  assert.equal(Object.keys(alignerOptions(config)), Object.keys(ALIGNER_DEFAULTS));
  assert.equal(alignerOptions(mnistConfig({})), ALIGNER_DEFAULTS);
  await fails(
    () => mnistConfig({ hidden: 513 }),
    'CONFIG',
    /hidden is 513, must be a whole number from 1 to 512/,
  );

  const run = new Command('run');
  addRunMnist(run);
  const help = run.commands[0]!.helpInformation();
  for (const key of Object.keys(ALIGNER_DEFAULTS)) {
    const name = key === 'learningRate' ? 'alignerLearningRate' : key;
    assert.match(help, new RegExp(`--${flagOf(name)} <`), key);
  }
});

test('defaults of the trainings depend on data and optimiser', () => {
  const { model, epochs, milestones, augment, learningRate } = trainConfig({
    data: 'cifar10',
    optimizer: 'adamw',
  });
  assert.equal(
    { model, epochs, milestones, augment, learningRate },
    { model: 'resnet20', epochs: 100, milestones: [50, 75], augment: 'crop-flip', learningRate: 0.001 },
  );
  assert.equal(trainConfig({ epochs: 8 }).milestones, [4, 6]);
});

/** A value that a key accepts and that is not its default. */
function otherValue({ kind, accepts, range }: Key<unknown>, before: unknown): unknown {
  const values = {
    number: [1, 2, 0.25, 0],
    numbers: [[1, 2.5, 1e-7]],
    name: range.split(', '),
    flag: [true, false],
  }[kind];
  return values.find((value) => accepts(value) && value !== before);
}

for (const [name, table, complete] of [
  ['a test', TABLE, (part: object) => TABLE.complete(part)],
  ['an aligner', ALIGNER_KEYS, alignerConfig],
  ['the MNIST experiment', MNIST_KEYS, mnistConfig],
  ['eli train', TRAIN_KEYS, trainConfig],
] as unknown as [string, ConfigTable<Keys>, (part: unknown) => Values][]) {
  test(`flags of ${name}: each key from flag to JSON and back, before what a file says`, () => {
    const flagsOf = (...args: string[]): Values => {
      const command = new Command().exitOverride();
      addConfigFlags(command.option('--config <file>'), table);
      return command.parse(args, { from: 'user' }).opts();
    };
    const defaults = complete({});
    assert.equal(complete(JSON.parse(JSON.stringify(defaults))), defaults);
    for (const [key, entry] of Object.entries(table.keys)) {
      const value = otherValue(entry, defaults[key]);
      assert.is.not(value, undefined, key);
      const args = entry.kind === 'flag' ? [`--${flagOf(key)}`] : [`--${flagOf(key)}`, String(value)];
      const part = givenConfig(table, flagsOf(...args));
      assert.equal(part, { [key]: value });
      const config = complete(part);
      assert.equal(config[key], value);
      const path = join(folder, 'config.json');
      writeFileSync(path, JSON.stringify(config));
      assert.equal(complete(givenConfig(table, flagsOf('--config', path))), config);

      writeFileSync(path, JSON.stringify({ [key]: value }));
      const back =
        entry.kind === 'flag' ? [`--no-${flagOf(key)}`] : [`--${flagOf(key)}`, String(defaults[key])];
      assert.equal(complete(givenConfig(table, flagsOf('--config', path, ...back))), defaults, key);
    }
  });
}

test.run();
