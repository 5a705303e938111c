import { grad } from '../../autograd/tape.ts';
import { autotune } from '../../bench/autotune.ts';
import type { ImageSet } from '../../data/image-set.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { crossEntropy } from '../../ops/loss.ts';
import type { Progress } from '../../report/progress.ts';
import { zeros } from '../../tensor/create.ts';
import { randomNormal } from '../../tensor/random.ts';
import { withScope } from '../../tensor/scope.ts';
import { inPrecision } from '../../train/objective.ts';
import type { TrainConfig } from './config.ts';
import { MODELS } from './models.ts';

/**
 * Measures those kernel variants of one training step that the file does not list yet, and selects the fastest. The step
 * runs on a separate network, with random images. Variants differ in the last bits of their results: a training resumes
 * bit for bit only with the same file.
 */
export async function tuneTraining(
  engine: Engine,
  config: TrainConfig,
  { channels, height, width, classes }: ImageSet,
  file: string,
  progress: Progress,
): Promise<void> {
  const { batch, precision, seed } = config;
  let bar: ReturnType<Progress> | undefined;
  const onProgress = (done: number, total: number, what: string): void => {
    bar ??= progress('tuning', total, 'classes');
    bar.update(done, what);
  };
  try {
    await withScope(engine, async (scope) => {
      const init = new Initializer(engine, seed);
      const model = scope.add(MODELS[config.model]!(init, [channels, height, width], classes));
      model.train(true);
      model.useStep(scope.add(zeros(engine, [1], 'u32')));
      const step = (): void => {
        const images = randomNormal(engine, [batch, channels, height, width], { seed: 1 });
        const output = model.forward(inPrecision(precision, images));
        grad(crossEntropy(output, zeros(engine, [batch], 'u32')), model.parameters());
      };
      await autotune(engine, step, { cache: file, onProgress });
    });
  } finally {
    bar?.done();
  }
}
