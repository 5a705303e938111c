// Lists that can be forgotten: every op file is registered by ops/all.ts, and numbers that a shader and TypeScript share
// have the same names and values in both.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import '../src/ops/all.ts';
import { BINARY_CODES } from '../src/ops/core/binary-op.ts';
import { registry } from '../src/ops/core/define.ts';
import { REDUCE_CODES } from '../src/ops/core/reduction.ts';
import { UNARY_CODES } from '../src/ops/core/unary-op.ts';
import { RESAMPLE_CODES } from '../src/ops/resize.ts';
import { SOFTMAX_CODES } from '../src/ops/softmax.ts';
import { OPTIMIZER_CODES } from '../src/optim/optimizer.ts';
import { RANDOM_CODES } from '../src/tensor/random.ts';
import { importsOf, sources } from './support/import-direction.ts';

const SHADERS = new URL('../shaders/', import.meta.url);

const filesIn = (folder: URL, end: string): string[] =>
  readdirSync(fileURLToPath(folder), { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith(end));

/** Files that define ops: those of families must be exported by ops/all.ts, those of ops/core be used by them. */
function unregistered(files: ReadonlyMap<string, string>): string[] {
  const listed = importsOf('ops/all.ts', files.get('ops/all.ts')!);
  const used = new Set<string>();
  const walk = (path: string): void => {
    if (used.has(path)) return;
    used.add(path);
    importsOf(path, files.get(path) ?? '').forEach(walk);
  };
  listed.forEach(walk);
  const defines = [...files].filter(([, text]) => /\b(defineOp|unaryOp|binaryOp)(<[^(]*>)?\(/.test(text));
  return defines
    .map(([path]) => path)
    .filter((path) => !(path.startsWith('ops/core/') ? used.has(path) : listed.includes(path)));
}

test('ops/all.ts exports every file that defines ops', () => {
  const files = sources();
  assert.equal(unregistered(files), []);
  const text = "export const cube = defineOp<null>({ name: 'cube' });";
  assert.equal(unregistered(new Map([...files, ['ops/cube.ts', text]])), ['ops/cube.ts']);
  assert.equal(unregistered(new Map([...files, ['ops/core/cube.ts', text]])), ['ops/core/cube.ts']);
});

test('every op of the package has what its tests need: it is registered', () => {
  const names = [...sources().values()].flatMap((text) =>
    [...text.matchAll(/defineOp(?:<.*>)?\(\{\s*name: '(\w+)'/g)].map(([, name]) => name!),
  );
  assert.ok(names.length > 15, `${names.length} names`);
  assert.equal(
    names.filter((name) => !registry.has(name)),
    [],
  );
});

test('every elementwise code has an op', () => {
  const missing = Object.keys({ ...UNARY_CODES, ...BINARY_CODES }).filter((name) => !registry.has(name));
  assert.equal(missing, []);
});

/** Shaders whose override of this name selects what they compute, and the table of its values in TypeScript. */
const TABLES: Readonly<Record<string, readonly ['OP' | 'KIND' | 'MODE', Readonly<Record<string, number>>]>> =
  {
    'lib/binary.wgsl': ['OP', BINARY_CODES],
    'lib/unary.wgsl': ['OP', UNARY_CODES],
    'optim/update.wgsl': ['KIND', OPTIMIZER_CODES],
    'pool/resample.wgsl': ['MODE', RESAMPLE_CODES],
    'random/random.wgsl': ['KIND', RANDOM_CODES],
    'reduce/reduce.wgsl': ['OP', REDUCE_CODES],
    'reduce/softmax.wgsl': ['KIND', SOFTMAX_CODES],
  };

const textOf = (file: string): string => readFileSync(new URL(file, SHADERS), 'utf8');

/** The constants `OP_ADD = 0u`, … of a shader. */
function constantsOf(text: string, override: string): Record<string, number> {
  const found = text.matchAll(new RegExp(`^const (${override}_\\w+) = (\\d+)u;$`, 'gm'));
  return Object.fromEntries([...found].map(([, name, value]) => [name!, Number(value)]));
}

/** leakyRelu of OP as OP_LEAKY_RELU. */
const constantName = (override: string, name: string): string =>
  `${override}_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

for (const [file, [override, codes]] of Object.entries(TABLES)) {
  test(`${file} has the names and numbers of its table`, () => {
    const want = Object.fromEntries(
      Object.entries(codes).map(([name, code]) => [constantName(override, name), code]),
    );
    assert.equal(constantsOf(textOf(file), override), want);
    assert.is(new Set(Object.values(codes)).size, Object.keys(codes).length, 'no number is used twice');
  });

  test(`${file} compares ${override} with names only`, () => {
    const numbers = textOf(file).match(new RegExp(`\\b${override} [=!<>]+ \\d|case \\d`, 'g'));
    assert.is(numbers, null);
  });
}

test('every shader with an override OP, KIND or MODE is in the list', () => {
  const found = filesIn(SHADERS, '.wgsl').filter((file) => /^override (OP|KIND|MODE):/m.test(textOf(file)));
  assert.equal(found.sort(), Object.keys(TABLES).sort());
});

test('an elementwise function without a case in the shader is found', () => {
  for (const file of ['lib/unary.wgsl', 'lib/binary.wgsl']) {
    const text = textOf(file);
    const missing = Object.keys(constantsOf(text, 'OP')).filter((name) => !text.includes(`case ${name}:`));
    assert.equal(missing, [], file);
  }
});

test.run();
