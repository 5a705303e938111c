// Mini-batches and the loss log of captured steps: the counter on the device, past the end, in views.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { mul } from '../src/ops/binary.ts';
import { toFloat } from '../src/ops/gather.ts';
import { slice } from '../src/ops/views.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { logStep, takeBatch } from '../src/train/step.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

test('steps go round an order whose last indices fill no mini-batch', async () => {
  // Everything is a view of something larger: offsets count.
  const order = slice(tensor(engine, Uint32Array.of(99, 0, 1, 2, 3, 4, 5, 6)), 0, 1, 8);
  const counter = slice(zeros(engine, [3], 'u32'), 0, 2, 3);
  const losses = slice(tensor(engine, [-1, -1, -1, -1]), 0, 1, 4);
  const program = engine.capture(() => {
    const index = takeBatch(order, counter, 3);
    const first = toFloat(slice(index, 0, 0, 1));
    logStep(mul(first, 10), losses, counter);
    return index;
  });
  const seen: number[][] = [];
  for (let step = 0; step < 4; step++) {
    program.run(1);
    seen.push([...(await program.result.read())]);
  }
  assert.equal(seen, [
    [0, 1, 2],
    [3, 4, 5],
    [0, 1, 2],
    [3, 4, 5],
  ]);
  assert.equal([...(await losses.readFloats())], [30, 30, 0], 'the fourth step is at the first place again');
  assert.equal([...(await counter.read())], [4]);
});

test('an order without a whole mini-batch, and strided tensors, are refused', async () => {
  const order = tensor(engine, Uint32Array.of(0, 1, 2));
  const counter = zeros(engine, [1], 'u32');
  await fails(() => takeBatch(order, counter, 4), 'ARGUMENT', /3 indices hold no mini-batch of 4/);
  const strided = slice(zeros(engine, [4, 2], 'u32'), 1, 0, 1);
  await fails(() => takeBatch(strided, counter, 1), 'ARGUMENT', /order .* is not dense/);
});

test.run();
