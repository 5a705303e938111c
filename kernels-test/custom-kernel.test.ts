// Kernels of one's own: the example of docs/custom-kernels.md runs as it stands; text, path and URL are the same kernel; an
// op needs a name and forward only; errors name the line in the text.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EliError } from '../src/errors.ts';
import { defineOp, registry } from '../src/ops/core/define.ts';
import { empty, zeros } from '../src/tensor/create.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const engine = await openEngine();
const folder = mkdtempSync(join(tmpdir(), 'eli-kernel-'));
test.after(async () => {
  rmSync(folder, { recursive: true });
  await closeEngine();
});

const CODE = `@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(1) fn main() {
  y[0] = 7.0;
}`;

/** Runs an example with its import pointed at the sources. */
function run(text: string, file: string) {
  writeFileSync(
    file,
    text.replace("'eli-webgpu'", JSON.stringify(pathToFileURL(join(root, 'src/index.ts')))),
  );
  const tsx = pathToFileURL(join(root, 'node_modules/tsx/dist/loader.mjs')).href;
  return spawnSync(process.execPath, ['--import', tsx, file], {
    cwd: tmpdir(),
    encoding: 'utf8',
    timeout: 300_000,
  });
}

test('the example of the documentation: value and gradient', () => {
  const page = readFileSync(join(root, 'docs/custom-kernels.md'), 'utf8');
  const example = /<!-- example -->\n```js\n([\s\S]*?)```/.exec(page)![1]!;
  const { status, stdout, stderr } = run(example, join(folder, 'example.mjs'));
  assert.is(status, 0, stderr);
  assert.match(stdout, /Tensor\(f32 \[4\] on /);
  assert.match(stdout, /\[ 1, 8, 27, 64 \].*\[ 3, 12, 27, 48 \]/s);
});

async function first(kernel: { readonly code: string } | { readonly file: string | URL }): Promise<number> {
  const y = zeros(engine, [1]);
  engine.run({ ...kernel, storages: [y.storage], groups: [1] });
  return y.item();
}

test('a kernel as text, as an absolute path and as a URL', async () => {
  const file = join(folder, 'seven.wgsl');
  writeFileSync(file, CODE);
  for (const kernel of [{ code: CODE }, { file }, { file: pathToFileURL(file) }, { code: CODE }])
    assert.is(await first(kernel), 7);
});

test('a path is relative to the file that calls engine.run, not to the working directory', () => {
  writeFileSync(join(folder, 'beside.wgsl'), CODE);
  const { status, stdout, stderr } = run(
    `import { Engine, zeros } from 'eli-webgpu';
const engine = await Engine.create();
const y = zeros(engine, [1]);
engine.run({ file: './beside.wgsl', storages: [y.storage], groups: [1] });
console.log('first', await y.item());
engine.dispose();`,
    join(folder, 'caller.mjs'),
  );
  assert.is(status, 0, stderr);
  assert.match(stdout, /first 7/);
});

test('an op needs a name and forward only, and is not registered', async () => {
  const op = defineOp({
    name: 'seven',
    forward: ([x]) => {
      const y = empty(engine, x!.shape);
      engine.run({ code: CODE, storages: [y.storage], groups: [1] });
      return y;
    },
  });
  assert.is((await op([zeros(engine, [3])]).read())[0], 7);
  assert.not.ok(registry.has('seven'));
  assert.throws(
    () => defineOp({ name: 'nothing' } as never),
    (error: EliError) => error.code === 'ARGUMENT',
  );
});

test('what is wrong is said with its line', async () => {
  const wrong = first({ code: CODE.replace('7.0', '7u') }).catch((error: unknown) => error);
  const error = (await wrong) as EliError;
  assert.instance(error, EliError);
  assert.is(error.code, 'WGSL');
  assert.match(error.message, /text-\d+\.wgsl:3:\d+/);
  for (const kernel of [{}, { code: 5 }, { file: null }]) {
    const error = await first(kernel as never).catch((error: unknown) => error);
    assert.is((error as EliError).code, 'ARGUMENT');
  }
  const none = (await first({ file: join(folder, 'none.wgsl') }).catch(
    (error: unknown) => error,
  )) as EliError;
  assert.is(none.code, 'WGSL');
});

test.run();
