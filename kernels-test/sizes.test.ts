// Sizes at the edges: more workgroups than one dimension takes, and more elements than kernels can index.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { matmul } from '../src/ops/matmul.ts';
import { batchNormEval } from '../src/ops/norm.ts';
import { sum } from '../src/ops/reduce.ts';
import { expand } from '../src/ops/views.ts';
import { empty, full, tensor, zeros } from '../src/tensor/create.ts';
import { packParams, reflectShader } from '../src/wgsl/reflect.ts';
import { loadShader } from '../src/wgsl/source.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const MANY = 70_000;

test('more matrices than workgroups of one dimension', async () => {
  const numbers = Float32Array.from({ length: MANY }, (_, i) => i % 251);
  const a = tensor(engine, numbers, [MANY, 1, 1]);
  const y = await matmul(a, full(engine, [MANY, 1, 2], 2)).readFloats();
  assert.is(y.length, 2 * MANY);
  assert.is(
    y.findIndex((v, i) => v !== 2 * (Math.floor(i / 2) % 251)),
    -1,
  );
});

test('a captured product of more matrices than workgroups of one dimension', async () => {
  const a = full(engine, [MANY, 1, 1], 3);
  const program = engine.capture(() => matmul(a, a));
  await program.run(1);
  assert.is(
    (await program.result.readFloats()).findIndex((v) => v !== 9),
    -1,
  );
  program.dispose();
});

test('more images than workgroups of one dimension', async () => {
  const x = tensor(
    engine,
    Float32Array.from({ length: MANY }, (_, i) => i % 13),
    [MANY, 1, 1, 1],
  );
  const one = full(engine, [1], 1);
  const zero = zeros(engine, [1]);
  const y = await batchNormEval(x, one, zero, { mean: zero, variance: one }).readFloats();
  assert.is(
    y.findIndex((v, i) => Math.abs(v - (i % 13)) > 1e-3),
    -1,
  );
});

test('a view or tensor of more elements than kernels index is refused with both numbers', async () => {
  const one = full(engine, [1, 1], 1);
  await fails(() => sum(expand(one, [65_536, 65_536])), 'SHAPE', /4294967296 elements, at most 2147483647/);
  await fails(() => empty(engine, [2 ** 16, 2 ** 15]), 'OUT_OF_MEMORY', /8589934592 bytes/);
});

test('an integer that a parameter does not hold is refused', async () => {
  const layout = reflectShader(loadShader('elementwise/fill.wgsl'));
  const bytes = new DataView(new ArrayBuffer(64));
  const params = { n: 2 ** 32, offset: 0, bits: 0, value: 0 };
  await fails(
    () => packParams(layout, params, bytes, 0),
    'WGSL',
    /params\.n is 4294967296, which u32 does not hold/,
  );
  await fails(() => packParams(layout, { ...params, n: -1 }, bytes, 0), 'WGSL', /params\.n is -1/);
});

test.run();
