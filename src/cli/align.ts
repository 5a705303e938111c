import { type Command, Option } from 'commander';
import { CLOSED_FORMS } from '../eli/maps/closed-forms.ts';
import { ALIGNER_KEYS } from '../eli/options.ts';
import { applyCommand } from './align-apply.ts';
import { type FitFlags, fitCommand } from './align-fit.ts';
import { gateCommand, LATENT_GATES } from './align-gate.ts';
import { reportCommand } from './align-report.ts';
import { ADAPTER, addConfigFlags, numberOf } from './flags.ts';

const LATENTS = 'file.npy, file.npz:array or file.safetensors:tensor, [n, d] of float16, float32 or float64';
const FORCE = ['--force', 'replace existing files'] as const;
const ALIGNER = ['--aligner <file>', 'a file written by `eli align fit`'] as const;

/** Adds `eli align`: the aligner for latents of any model, from files to files. */
export function addAlign(program: Command): void {
  const align = program.command('align').description('align latents of your own models, from files to files');

  const fit = align
    .command('fit')
    .description('learn an aligner from latents of the same inputs by the previous and the current model')
    .requiredOption('--prev <latents>', `latents of the previous model: ${LATENTS}`)
    .requiredOption('--current <latents>', 'latents of the current model, the same rows')
    .requiredOption('--out <file>', 'aligner to write (.safetensors)')
    .addOption(
      new Option('--control <name>', 'fit this closed form instead, as a baseline').choices(
        Object.keys(CLOSED_FORMS),
      ),
    )
    .option('--max-pairs <number>', 'use at most this many pairs, drawn with --seed', numberOf)
    .option(...ADAPTER)
    .option(...FORCE);
  addConfigFlags(fit, ALIGNER_KEYS);
  fit.action((flags: FitFlags) => fitCommand(flags, ALIGNER_KEYS.pick(flags)));

  align
    .command('gate')
    .description('learn which latents to leave as they are, from latents of the current task')
    .requiredOption(...ALIGNER)
    .requiredOption('--current <latents>', `current-task latents by the current model: ${LATENTS}`)
    .requiredOption('--out <file>', 'gate to write (.safetensors)')
    .addOption(
      new Option('--kind <name>', 'what it decides by: the energy, or the density of current-task latents')
        .choices([...LATENT_GATES])
        .default(LATENT_GATES[0]),
    )
    .option('--quantile <number>', 'share of current-task latents to leave as they are', numberOf, 0.95)
    .option('--seed <number>', 'seed of the split into rows to learn from and to calibrate with', numberOf, 1)
    .option(...ADAPTER)
    .option(...FORCE)
    .action(gateCommand);

  align
    .command('apply')
    .description('align any number of latents, in batches')
    .requiredOption(...ALIGNER)
    .requiredOption('--in <latents>', `latents to align: ${LATENTS}`)
    .requiredOption('--out <file>', 'aligned latents to write (.npy, float32)')
    .option(
      '--energies <file>',
      'also write the energy of each latent before and after (.npy, float32 [n, 2])',
    )
    .option(
      '--gate <file>',
      'align only the latents that this gate considers old; `eli align gate` writes one',
    )
    .option(...ADAPTER)
    .option(...FORCE)
    .action(applyCommand);

  align
    .command('report')
    .description('measure drift before and after alignment: a table, drift.json, a histogram of energies')
    .requiredOption('--prev <latents>', `latents of the previous model: ${LATENTS}`)
    .requiredOption('--current <latents>', 'latents of the current model, the same rows')
    .requiredOption(...ALIGNER)
    .requiredOption('--out <folder>', 'folder for the files')
    .option(...ADAPTER)
    .option(...FORCE)
    .action(reportCommand);
}
