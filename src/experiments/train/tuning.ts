import { grad } from '../../autograd/tape.ts';
import { autotune } from '../../bench/autotune.ts';
import type { ImageSet } from '../../data/image-set.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { crossEntropy } from '../../ops/loss.ts';
import type { Progress } from '../../report/progress.ts';
import { zeros } from '../../tensor/create.ts';
import { randomNormal } from '../../tensor/random.ts';
import { inPrecision } from '../../train/objective.ts';
import type { TrainConfig } from './config.ts';
import { MODELS } from './models.ts';

/**
 * Measures the variants of the kernels of one training step that the file does not know yet, and takes the fastest.
 * The step is done on a network of its own, with random images. Results differ in their last bits between variants: a
 * training that is to be resumed with the same bits needs the same file.
 */
export async function tuneTraining(
  engine: Engine,
  config: TrainConfig,
  { channels, height, width, classes }: ImageSet,
  file: string,
  progress: Progress,
): Promise<void> {
  const model = MODELS[config.model]!(
    new Initializer(engine, config.seed),
    [channels, height, width],
    classes,
  );
  const step = zeros(engine, [1], 'u32');
  model.train(true);
  model.useStep(step);
  let bar: ReturnType<Progress> | undefined;
  try {
    await autotune(
      engine,
      () => {
        const images = randomNormal(engine, [config.batch, channels, height, width], { seed: 1 });
        const loss = crossEntropy(
          model.forward(inPrecision(config.precision, images)),
          zeros(engine, [config.batch], 'u32'),
        );
        grad(loss, model.parameters());
      },
      {
        cache: file,
        onProgress: (done, total, what) => {
          bar ??= progress('tuning', total, 'classes');
          bar.update(done, what);
        },
      },
    );
  } finally {
    bar?.done();
    step.dispose();
    model.dispose();
  }
}
