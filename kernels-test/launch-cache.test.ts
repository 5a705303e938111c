// Equal launches share a params slot and a bind group; launches that differ in anything must not.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { add } from '../src/ops/binary.ts';
import { affine, neg, relu } from '../src/ops/unary.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

/** What the device was asked for while `fn` ran. */
function counting(fn: () => void): { bindGroups: number; writes: number } {
  const { device } = engine;
  const made = { bindGroups: 0, writes: 0 };
  const createBindGroup = device.createBindGroup.bind(device);
  const writeBuffer = device.queue.writeBuffer.bind(device.queue);
  device.createBindGroup = (descriptor) => {
    made.bindGroups++;
    return createBindGroup(descriptor);
  };
  device.queue.writeBuffer = (...rest: Parameters<typeof writeBuffer>) => {
    made.writes++;
    return writeBuffer(...rest);
  };
  try {
    fn();
  } finally {
    device.createBindGroup = createBindGroup;
    device.queue.writeBuffer = writeBuffer;
  }
  return made;
}

test('a loop that launches the same again makes no bind groups and writes no params', async () => {
  const x = tensor(engine, [1, -2, 3]);
  // 3 launches do not divide the 256 of a submit: the loop meets each submit at another place.
  const step = (): void => {
    engine.tidy(() => {
      relu(neg(affine(x, 2, 1)));
    });
  };
  const first = counting(step);
  assert.is(first.bindGroups, 3);
  // Buffers come back from the pool in another order: a few steps until all have been met.
  for (let i = 0; i < 3; i++) step();
  engine.flush();
  const later = counting(() => {
    for (let i = 0; i < 200; i++) step();
    engine.flush();
  });
  assert.equal(later, { bindGroups: 0, writes: 0 });
  await engine.sync();
  x.dispose();
});

test('params that differ each time are right, however many there are', async () => {
  let sum = tensor(engine, [0]);
  // More than the slots of the arena, so that it starts anew.
  const n = 7000;
  for (let i = 0; i < n; i++) {
    // Every other launch is one that came before.
    const next = affine(sum, 1, i % 2 === 0 ? i : 7);
    sum.dispose();
    sum = next;
  }
  let want = 0;
  for (let i = 0; i < n; i++) want += i % 2 === 0 ? i : 7;
  assert.is(await sum.item(), want);
  sum.dispose();
});

test('every pair of operands has a bind group of its own; old ones are forgotten', async () => {
  const count = 65;
  const values = Array.from({ length: count }, (_, i) => tensor(engine, [i]));
  const both = (a: Tensor, b: Tensor): Tensor => add(a, b);
  const wrong: string[] = [];
  for (const [i, a] of values.entries()) {
    const sums = values.map((b) => both(a, b));
    const got = await Promise.all(sums.map((sum) => sum.item()));
    got.forEach((sum, j) => {
      if (sum !== i + j) wrong.push(`${i} + ${j} = ${sum}`);
    });
    for (const sum of sums) sum.dispose();
  }
  assert.equal(wrong, []);
  // 65² pairs are more than are kept: the first row is not known any more.
  const again = (a: Tensor): number =>
    counting(() => {
      for (const sum of values.map((b) => both(a, b))) sum.dispose();
    }).bindGroups;
  assert.is(again(values.at(0)!), count);
  await engine.sync();
  for (const value of values) value.dispose();
});

test('a captured program makes one bind group for equal launches', async () => {
  const x = tensor(engine, [4]);
  const made = counting(() => {
    const program = engine.capture(() => {
      for (let i = 0; i < 10; i++) relu(x).dispose();
    });
    assert.is(program.dispatches, 10);
    program.dispose();
  });
  assert.is(made.bindGroups, 1);
  await engine.sync();
  x.dispose();
});

test.run();
