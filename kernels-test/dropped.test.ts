// Tensors that are dropped without dispose give their buffers back when they are collected, with one warning.
import { setTimeout as wait } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { Engine } from '../src/gpu/engine.ts';
import { add } from '../src/ops/binary.ts';
import { zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc') as () => void;
const warnings: Error[] = [];
process.on('warning', (warning) => warnings.push(warning));
const engine = await Engine.create();
test.after(() => engine.dispose());

/** Collects garbage until `done`, for at most 10 s. */
async function collect(done: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !done(); i++) {
    gc();
    await wait(100);
  }
}

test('1,000 aligns without dispose do not keep their memory', async () => {
  const latents = randomNormal(engine, [1024, 32], { seed: 1 });
  const pairs = { previous: latents, current: latents };
  const aligner = await EnergyAligner.fit(engine, pairs, { iterations: 1, steps: 1 });
  const before = engine.memory.bytesInUse;
  for (let i = 0; i < 1000; i++) aligner.align(latents);
  await engine.sync();
  await collect(() => engine.memory.bytesInUse <= before);
  assert.is(engine.memory.bytesInUse, before);
  const said = warnings.filter((warning) => (warning as { code?: string }).code === 'ELI_DROPPED');
  assert.is(said.length, 1);
  assert.match(said[0]!.message, /a tensor of 131072 bytes was dropped without dispose/);
  aligner.dispose();
  latents.dispose();
});

test('a view, a program and a pending read keep what they need', async () => {
  const make = (): Tensor => add(zeros(engine, [1000]), 1);
  const view = ((): Tensor => {
    const whole = make();
    return whole.view([10], [1], 5);
  })();
  const read = make().read();
  const program = (() => {
    const outside = make();
    return engine.capture(() => add(outside, 1));
  })();
  await collect(() => engine.memory.inUse <= 4);
  for (let i = 0; i < 20; i++) zeros(engine, [1000]);
  program.run();
  assert.equal([...(await view.read())], Array(10).fill(1));
  assert.is((await read)[999], 1);
  assert.is((await program.result.read())[999], 2);
  program.dispose();
  view.dispose();
});

test('a disposed tensor is released once', async () => {
  await collect(() => engine.memory.inUse === 0);
  const before = engine.memory.inUse;
  for (let i = 0; i < 100; i++) zeros(engine, [64]).dispose();
  gc();
  await wait(50);
  assert.is(engine.memory.inUse, before);
  assert.ok(before >= 0);
});

test.run();
