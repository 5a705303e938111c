import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageData, ImageSet } from '../../src/data/image-set.ts';
import { loadMnist } from '../../src/data/mnist.ts';
import { MNIST_KEYS, type MnistConfig } from '../../src/experiments/mnist/config.ts';
import type { MnistResult } from '../../src/experiments/mnist/run.ts';
import { runMnistSeeds } from '../../src/experiments/mnist/seeds.ts';
import { withRunSession } from '../../src/experiments/session.ts';
import type { Engine } from '../../src/gpu/engine.ts';
import type { Progress } from '../../src/report/progress.ts';
import { idxBytes } from './data.ts';

const first = (set: ImageSet, count: number): ImageSet => ({
  ...set,
  count,
  images: set.images.slice(0, count * set.height * set.width),
  labels: set.labels.slice(0, count),
});

/** The first images of MNIST's two sets. */
export async function smallMnist(train: number, test: number): Promise<ImageData> {
  const whole = await loadMnist();
  return { ...whole, train: first(whole.train, train), test: first(whole.test, test) };
}

/** Writes the four files of MNIST into a new folder. */
export function writeMnist(folder: string, { train, test }: ImageData): void {
  mkdirSync(folder);
  for (const [prefix, set] of [
    ['train', train],
    ['t10k', test],
  ] as const) {
    const { count, height, width, images, labels } = set;
    writeFileSync(join(folder, `${prefix}-images-idx3-ubyte`), idxBytes([count, height, width], images));
    writeFileSync(join(folder, `${prefix}-labels-idx1-ubyte`), idxBytes([count], Uint8Array.from(labels)));
  }
}

/** The experiment as `eli run mnist` does it, in a folder that it locks. */
export async function runInSession(
  engine: Engine,
  config: Partial<MnistConfig>,
  mnist: ImageData,
  options: { folder: string; resume: boolean; progress: Progress; signal?: AbortSignal },
): Promise<MnistResult[]> {
  return withRunSession(
    MNIST_KEYS,
    config,
    options,
    () => 'mnist',
    async (session) => {
      await session.begin(engine.adapter, mnist);
      const run = { ...session.run(options.progress), pictures: false };
      return runMnistSeeds(engine, session.config, mnist, run);
    },
  );
}
