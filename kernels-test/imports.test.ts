// The import order of DESIGN.md holds in src, no files import one another in a circle, and the checks can see where that
// is not so.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { circles, sources, wrongImports } from './support/import-direction.ts';

const check = (path: string, text: string): string[] => wrongImports(new Map([[path, text]]));

test('src follows the import order', () => {
  const files = sources();
  assert.ok(files.size > 20, `only ${files.size} files were found in src`);
  assert.equal(wrongImports(files), []);
  assert.equal(circles(files), []);
});

test('imports to the left, inside a folder and of errors.ts are allowed', () => {
  assert.equal(
    check('ops/a.ts', "import { b } from './b.ts';\nimport type { C } from '../tensor/c.ts';"),
    [],
  );
  assert.equal(check('wgsl/a.ts', "import { EliError } from '../errors.ts';"), []);
  assert.equal(check('optim/a.ts', "import { Module } from '../nn/module.ts';"), []);
  assert.equal(check('index.ts', "export { b } from './eli/b.ts';\nexport { c } from './data/c.ts';"), []);
  assert.equal(check('gpu/a.ts', "import { readFile } from 'node:fs';\nimport 'webgpu';"), []);
});

for (const [name, path, text] of [
  ['to the right', 'gpu/a.ts', "import { Tensor } from '../tensor/tensor.ts';"],
  ['over several lines', 'tensor/a.ts', "import {\n  add,\n} from '../ops/binary.ts';"],
  ['of a type only', 'autograd/a.ts', "import type { Op } from '../ops/define.ts';"],
  ['re-exported', 'ebm/a.ts', "export * from '../eli/aligner.ts';"],
  ['at run time', 'gpu/a.ts', "const t = await import('../tensor/tensor.ts');"],
  ['for its effect', 'gpu/a.ts', "import '../ops/all.ts';"],
  ['of ops in its core', 'ops/core/a.ts', "import { max } from '../reduce.ts';"],
  ['config of files', 'config.ts', "import { readJson } from './files/json.ts';"],
  ['incremental of detection', 'incremental/methods/a.ts', "import { iou } from '../../detection/boxes.ts';"],
  ['from a subfolder', 'gpu/sub/a.ts', "import '../../cli/main.ts';"],
  ['nn of optim', 'nn/a.ts', "import { Sgd } from '../optim/sgd.ts';"],
  ['data of report', 'data/a.ts', "import { table } from '../report/table.ts';"],
  ['report of data', 'report/a.ts', "import { mnist } from '../data/mnist.ts';"],
  ['errors of anything', 'errors.ts', "import { dawn } from './gpu/adapter.ts';"],
  ['index of report', 'index.ts', "export { table } from './report/table.ts';"],
  ['index of experiments', 'index.ts', "export { run } from './experiments/mnist.ts';"],
] as const) {
  test(`a wrong import is found: ${name}`, () => assert.is(check(path, text).length, 1));
}

test('a folder that is not in the order is found', () => {
  assert.match(check('misc/a.ts', '')[0]!, 'not in the import order');
});

const circlesOf = (files: Record<string, string>): string[] => circles(new Map(Object.entries(files)));

for (const [name, files, circle] of [
  [
    'inside a folder',
    { 'ops/a.ts': "import { b } from './b.ts';", 'ops/b.ts': "export { a } from './a.ts';" },
    'ops/a.ts → ops/b.ts → ops/a.ts',
  ],
  [
    'of types only',
    { 'gpu/a.ts': "import type { B } from './b.ts';", 'gpu/b.ts': "import { type A, a } from './a.ts';" },
    'gpu/a.ts → gpu/b.ts → gpu/a.ts',
  ],
  [
    'of three files, behind one that is not in it',
    {
      'eli/a.ts': "import './b.ts';",
      'eli/b.ts': "import './c/c.ts';",
      'eli/c/c.ts': "const d = await import('../d.ts');",
      'eli/d.ts': "import './b.ts';",
    },
    'eli/b.ts → eli/c/c.ts → eli/d.ts → eli/b.ts',
  ],
  ['of one file', { 'nn/a.ts': "export * from './a.ts';" }, 'nn/a.ts → nn/a.ts'],
] as const) {
  test(`a circle of imports is found: ${name}`, () =>
    assert.equal(circlesOf(files), [`src: a circle of imports: ${circle}`]));
}

test('two ways to one file are not a circle', () => {
  assert.equal(
    circlesOf({
      'nn/a.ts': "import './b.ts';\nimport './c.ts';",
      'nn/b.ts': "import './c.ts';",
      'nn/c.ts': '',
    }),
    [],
  );
});

test.run();
