import { Command, CommanderError } from 'commander';
import { EliError } from '../errors.ts';
import { addAlign } from './align.ts';
import { addBench } from './bench.ts';
import { doctor } from './doctor.ts';
import { addRunMnist } from './run-mnist.ts';
import { addRunMnistEnergies } from './run-mnist-energies.ts';
import { addTrain } from './train.ts';

/** Exit codes: 0 well, 1 an error, 2 wrong use of the command line, 130 stopped by Ctrl-C. */
export async function main(argv: string[]): Promise<number> {
  const program = new Command('eli')
    .description('ELI, the energy-based latent aligner, on a WebGPU engine of its own')
    .showHelpAfterError('(add --help for all flags)')
    .exitOverride();
  const run = program.command('run').description('run an experiment of the paper');
  addRunMnist(run);
  addRunMnistEnergies(run);
  addTrain(program);
  addAlign(program);
  addBench(program);
  program
    .command('doctor')
    .description(
      'adapter, driver, limits and features, a check of results and speed, and what to do about problems',
    )
    .option('--adapter <name>', 'part of the name of the adapter to use')
    .action(doctor);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof EliError) {
      process.stderr.write(`\neli: ${error.message}\n`);
      return error.code === 'ABORTED' ? 130 : 1;
    }
    throw error;
  }
}
