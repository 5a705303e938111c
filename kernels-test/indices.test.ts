// Indices and labels out of range: they touch nothing else, and training names op, index and step.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { augment, mixedLabels, uploadImages } from '../src/data/augment.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear } from '../src/nn/layers.ts';
import { gather, scatterAdd } from '../src/ops/gather.ts';
import { crossEntropy, oneHot } from '../src/ops/loss.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { Trainer } from '../src/train/trainer.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const indices = (...list: number[]): Tensor => tensor(engine, Uint32Array.from(list));
const table = (): Tensor => tensor(engine, Float32Array.of(1, 2, 3, 4, 5, 6), [3, 2]);

async function reads(make: () => Tensor, want: readonly number[], ...message: RegExp[]): Promise<void> {
  await engine.checkIndices();
  assert.equal([...(await engine.tidy(make).read())], want);
  await fails(() => engine.checkIndices(), 'INDEX', ...message);
  await engine.checkIndices();
}

test('a row that is not there is zeros, adds nothing, and is named', async () => {
  await reads(
    () => gather(table(), indices(2, 3)),
    [5, 6, 0, 0],
    /^gather: index 3 is out of range for 3 rows\n/,
  );
  await reads(
    () => gather(tensor(engine, new Float32Array(12).fill(7), [3, 4]), indices(9)),
    [0, 0, 0, 0],
    /index 9/,
  );
  await reads(
    () => scatterAdd(table(), indices(0, 9, 2), 3),
    [1, 2, 0, 0, 5, 6],
    /^scatterAdd: index 9 .* 3 rows/,
  );
  await reads(() => oneHot(indices(5, 1), 3), [0, 0, 0, 0, 1, 0], /index 5 is out of range for 3 rows/);
  await reads(() => gather(table(), indices(2 ** 32 - 1)), [0, 0], /index 4294967295/);
});

test('labels that are not there are named', async () => {
  const logits = randomNormal(engine, [4, 3], { seed: 1 });
  const loss = crossEntropy(logits, indices(0, 1, 3, 2));
  assert.ok(Number.isNaN((await loss.readFloats())[0]));
  await fails(() => engine.checkIndices(), 'INDEX', /^crossEntropy: index 3 is out of range for 3 rows/);
  mixedLabels(indices(0, 7), 3, 0.5, { seed: 1 });
  await fails(() => engine.checkIndices(), 'INDEX', /^mixedLabels: index 7 /);
});

test('an image that is not there is named', async () => {
  const labels = new Uint8Array(2);
  const set = { count: 2, channels: 1, height: 4, width: 4, images: new Uint8Array(32), labels, classes: 1 };
  augment(uploadImages(engine, set), indices(1, 2));
  await fails(() => engine.checkIndices(), 'INDEX', /^augment: index 2 is out of range for 2 rows/);
});

test('training names op and step, and can be repeated after the data is mended', async () => {
  const inputs = randomNormal(engine, [64, 4], { seed: 2 });
  const labels = tensor(
    engine,
    Uint32Array.from({ length: 64 }, (_, i) => i % 3),
  );
  const samples = {
    count: 64,
    classes: 3,
    inputs: (i: Tensor) => gather(inputs, i),
    labels: (i: Tensor) => gather(labels, i),
  };
  const model = new Linear(new Initializer(engine, 1), 4, 3);
  const trainer = new Trainer(model, samples, sgd(model.parameters(), { learningRate: 0.1 }), {
    batch: 16,
    seed: 1,
  });
  await trainer.run(6);
  labels.write(Uint32Array.from({ length: 64 }, (_, i) => (i === 5 ? 3 : i % 3)));
  // The image with the wrong label is in one of the four batches of the next epoch, that of steps 9 to 12 at the latest.
  await fails(
    () => trainer.run(6),
    'INDEX',
    /^crossEntropy: index 3 is out of range for 3 rows in step (7|8|9|10|11|12)\n/,
  );
  await engine.checkIndices();
});

test.run();
