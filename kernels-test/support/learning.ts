import { createHash } from 'node:crypto';
import { ImageSamples } from '../../src/data/image-samples.ts';
import { EnergyAligner } from '../../src/eli/aligner.ts';
import { SmallCnn } from '../../src/experiments/train/models.ts';
import type { Engine } from '../../src/gpu/engine.ts';
import { Initializer } from '../../src/nn/init.ts';
import { sgd } from '../../src/optim/optimizer.ts';
import { randomNormal } from '../../src/tensor/random.ts';
import { Trainer } from '../../src/train/trainer.ts';
import { randomInts } from './data.ts';

/** Trains a small network and fits an aligner; gives a hash of all that they learnt. */
export async function learn(engine: Engine, seed: number): Promise<string> {
  const hash = createHash('sha256');
  const int = randomInts(seed);
  const count = 96;
  const samples = new ImageSamples(engine, {
    images: Uint8Array.from({ length: count * 64 }, () => int(256)),
    labels: Uint8Array.from({ length: count }, (_, i) => i % 4),
    count,
    channels: 1,
    height: 8,
    width: 8,
    classes: 4,
  });
  const model = new SmallCnn(new Initializer(engine, seed), [1, 8, 8], 4);
  const optimizer = sgd(model.parameters(), { learningRate: 0.05, momentum: 0.9 });
  const trainer = new Trainer(model, samples, optimizer, { batch: 16, seed });
  hash.update(await trainer.run(30));
  hash.update(await optimizer.flat.values.readFloats());
  for (const item of [trainer, optimizer, model, samples]) item.dispose();

  const previous = randomNormal(engine, [300, 8], { seed });
  const current = randomNormal(engine, [300, 8], { seed: seed + 1 });
  const options = { iterations: 300, hidden: 32, batch: 32, seed };
  const aligner = await EnergyAligner.fit(engine, { previous, current }, options, { every: 50 });
  const aligned = aligner.align(current);
  hash.update(await aligned.readFloats());
  for (const item of [aligner, aligned, previous, current]) item.dispose();
  return hash.digest('hex');
}
