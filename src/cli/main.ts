import { createRequire } from 'node:module';
import { Command, CommanderError } from 'commander';
import { EliError, type ErrorCode } from '../errors.ts';
import { RunStopped } from '../experiments/session.ts';
import { addAlign } from './align.ts';
import { addBench } from './bench.ts';
import { doctor } from './doctor.ts';
import { ADAPTER } from './flags.ts';
import { addRunMnist } from './run-mnist.ts';
import { addRunMnistEnergies } from './run-mnist-energies.ts';
import { addTrain } from './train.ts';

const EXIT_CODES: Partial<Record<ErrorCode, number>> = { ABORTED: 130, CONFIG: 2 };

/**
 * Exit codes: 0 done; 1 failed; 2 wrong command line or config, so that the same command will fail again; 75 stopped by
 * a signal with a checkpoint, to be resumed; 130 or 143 stopped without one.
 */
export async function main(argv: string[]): Promise<number> {
  // Warnings about dropped tensors are for those who write programs.
  process.env.NODE_ENV ??= 'production';
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string };
  const program = new Command('eli')
    .version(version)
    .description('ELI, the energy-based latent aligner, on its own WebGPU engine')
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
    .option(...ADAPTER)
    .action(doctor);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    if (error instanceof EliError) {
      process.stderr.write(`\neli: ${error.message}\n`);
      if (error instanceof RunStopped) return 75;
      return EXIT_CODES[error.code] ?? 1;
    }
    throw error;
  }
}
