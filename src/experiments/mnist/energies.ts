import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageData } from '../../data/image-set.ts';
import { EnergyAligner } from '../../eli/aligner.ts';
import { fitControl, type LatentMap } from '../../eli/controls.ts';
import type { AlignerState, LatentPairs } from '../../eli/fit.ts';
import type { AlignerOptions } from '../../eli/options.ts';
import { EliError } from '../../errors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { div, mul, sub } from '../../ops/binary.ts';
import { gather } from '../../ops/gather.ts';
import { mean } from '../../ops/reduce.ts';
import { sqrt } from '../../ops/unary.ts';
import { writeJson } from '../../report/json.ts';
import type { Progress } from '../../report/progress.ts';
import { formatMeanStd, meanStd } from '../../report/stats.ts';
import { renderTable, type TableFormat } from '../../report/table.ts';
import { tensor } from '../../tensor/create.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { checkpointPath } from '../checkpoint.ts';
import { readCheckpoint } from './checkpoint.ts';
import { alignerOptions } from './config.ts';
import { accuracy, latentsOf, layerOf, TwoTasks } from './two-task.ts';

/** What is tried on the side of the energy, and what each changes of the original. */
export const ENERGY_VARIANTS = {
  original: 'as the paper has it',
  'mean-shift': 'chains start at latents + mean(previous − current)',
  ridge: 'chains start at the ridge map of the latents',
  'per-dimension': 'a step size of its own for each dimension: ε times the variance of the previous latents',
  'early-stop':
    'keeps the average that takes held-out pairs nearest to their previous latents, of one every 1,000 iterations',
  'ridge-alone': 'the ridge map without any chain (control)',
} as const;
export type EnergyVariant = keyof typeof ENERGY_VARIANTS;

/** Test accuracies in % of one seed with one variant. */
export interface EnergyResult {
  readonly seed: number;
  readonly variant: EnergyVariant;
  /** Task 1 on aligned latents, with head 1 as it has drifted. */
  readonly task1: number;
  /** Task 2 when its latents are aligned too. */
  readonly task2Aligned: number;
}

export interface EnergiesRun {
  /** Folder of a finished run of the MNIST experiment, with one seed or several. */
  readonly folder: string;
  readonly variants: readonly EnergyVariant[];
  readonly progress: Progress;
  readonly signal?: AbortSignal;
}

/**
 * Learns other energies for the models of a finished run and measures them as the experiment does; writes
 * `energy-variants.json` into the run's folder.
 * @throws EliError `RUN_FOLDER` when there is no finished run, `ABORTED`.
 */
export async function runMnistEnergies(
  engine: Engine,
  mnist: ImageData,
  run: EnergiesRun,
): Promise<EnergyResult[]> {
  const sets = new TwoTasks(engine, mnist);
  const results: EnergyResult[] = [];
  try {
    for (const folder of seedFolders(run.folder)) {
      const { config, afterTask1, classifier, aligner } = (await readCheckpoint(folder))!;
      if (afterTask1 === undefined || aligner === undefined || aligner.iteration < config.iterations) {
        throw new EliError('RUN_FOLDER', `the run in ${folder} is not finished`, {
          hint: `finish it first: repeat its command with --resume --out ${run.folder}`,
        });
      }
      const layers = {
        previous: layerOf(engine, afterTask1, 'base'),
        current: layerOf(engine, classifier.model, 'base'),
        head1: layerOf(engine, classifier.model, 'head1'),
        head2: layerOf(engine, classifier.model, 'head2'),
      };
      const pairs = {
        previous: latentsOf(layers.previous, sets.train2),
        current: latentsOf(layers.current, sets.train2),
      };
      const test = {
        first: latentsOf(layers.current, sets.test1),
        second: latentsOf(layers.current, sets.test2),
      };
      const bar = run.progress(`seed ${config.seed}`, run.variants.length, 'energies');
      try {
        for (const [i, variant] of run.variants.entries()) {
          const map = await learn(engine, variant, pairs, alignerOptions(config), aligner, run.signal);
          const aligned = engine.tidy(() => [map.align(test.first), map.align(test.second)]);
          results.push({
            seed: config.seed,
            variant,
            task1: await accuracy(layers.head1, aligned[0]!, sets.test1.hostLabels),
            task2Aligned: await accuracy(layers.head2, aligned[1]!, sets.test2.hostLabels),
          });
          for (const t of aligned) t.dispose();
          map.dispose?.();
          bar.update(i + 1, `${variant}: task 1 at ${results.at(-1)!.task1.toFixed(1)} %`);
        }
      } finally {
        bar.done();
        for (const layer of Object.values(layers)) layer.dispose();
        for (const t of [...Object.values(pairs), ...Object.values(test)]) t.dispose();
      }
    }
  } finally {
    sets.dispose();
  }
  await writeJson(join(run.folder, 'energy-variants.json'), results);
  return results;
}

function seedFolders(folder: string): string[] {
  if (existsSync(checkpointPath(folder))) return [folder];
  const seeds = existsSync(folder)
    ? readdirSync(folder).filter((name) => existsSync(checkpointPath(join(folder, name))))
    : [];
  if (seeds.length === 0) {
    throw new EliError('RUN_FOLDER', `there is no run of the MNIST experiment in ${folder}`, {
      hint: 'give the --out folder of an earlier `eli run mnist`',
    });
  }
  return seeds
    .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((name) => join(folder, name));
}

type Learnt = LatentMap & { dispose?(): void };

async function learn(
  engine: Engine,
  variant: EnergyVariant,
  pairs: LatentPairs,
  options: AlignerOptions,
  original: AlignerState,
  signal: AbortSignal | undefined,
): Promise<Learnt> {
  const hooks = signal === undefined ? {} : { signal };
  switch (variant) {
    case 'original':
      return EnergyAligner.fit(engine, pairs, options, { resume: original });
    case 'mean-shift':
    case 'ridge':
      return EnergyAligner.fit(engine, pairs, { ...options, start: variant }, hooks);
    case 'per-dimension':
      return perDimension(engine, pairs, options, hooks);
    case 'early-stop':
      return earlyStop(engine, pairs, options, hooks);
    case 'ridge-alone':
      return fitControl('ridge', pairs);
  }
}

/** The original in coordinates whose previous latents have variance 1: there a step of ε is one of ε σ² here. */
async function perDimension(
  engine: Engine,
  pairs: LatentPairs,
  options: AlignerOptions,
  hooks: { signal?: AbortSignal },
): Promise<Learnt> {
  const deviation = engine.tidy(() => {
    const centred = sub(pairs.previous, mean(pairs.previous, 0, true));
    return engine.keep(sqrt(mean(mul(centred, centred), 0, true)));
  });
  const scaled = engine.tidy(() => ({
    previous: div(pairs.previous, deviation),
    current: div(pairs.current, deviation),
  }));
  const aligner = await EnergyAligner.fit(engine, scaled, options, hooks);
  for (const t of Object.values(scaled)) t.dispose();
  return {
    align: (latents) => engine.tidy(() => mul(aligner.align(div(latents, deviation)), deviation)),
    dispose: () => {
      aligner.dispose();
      deviation.dispose();
    },
  };
}

/** Every so many pairs one is held out. */
const HELD_OUT = 10;

async function earlyStop(
  engine: Engine,
  pairs: LatentPairs,
  options: AlignerOptions,
  hooks: { signal?: AbortSignal },
): Promise<Learnt> {
  const rows = Array.from({ length: pairs.previous.shape[0]! }, (_, i) => i);
  const part = (wanted: (i: number) => boolean): LatentPairs =>
    engine.tidy(() => {
      const index = tensor(engine, Uint32Array.from(rows.filter(wanted)));
      return { previous: gather(pairs.previous, index), current: gather(pairs.current, index) };
    });
  const fit = part((i) => i % HELD_OUT !== 0);
  const held = part((i) => i % HELD_OUT === 0);
  let best: { distance: number; state: AlignerState } | undefined;
  const full = await EnergyAligner.fit(engine, fit, options, {
    ...hooks,
    onProgress: async ({ aligner }) => {
      const gap = engine.tidy(() => {
        const off = sub(aligner.align(held.current), held.previous);
        return mean(mul(off, off));
      });
      const distance = await gap.item();
      gap.dispose();
      if (best === undefined || distance < best.distance) best = { distance, state: await aligner.state() };
    },
  });
  full.dispose();
  const { state } = best!;
  const kept = await EnergyAligner.fit(
    engine,
    fit,
    { ...options, iterations: state.iteration },
    { resume: state },
  );
  for (const t of [...Object.values(fit), ...Object.values(held)] as Tensor[]) t.dispose();
  return kept;
}

/** One row a variant, mean ± std over the seeds, as text. */
export async function energiesTable(
  results: readonly EnergyResult[],
  format: TableFormat = 'terminal',
): Promise<string> {
  const variants = [...new Set(results.map((r) => r.variant))];
  const cell = (variant: EnergyVariant, key: 'task1' | 'task2Aligned'): string =>
    formatMeanStd(meanStd(results.filter((r) => r.variant === variant).map((r) => r[key])), 2);
  return renderTable(
    [
      { head: 'energy', align: 'left', cell: (v: EnergyVariant) => v },
      { head: 'what is new', align: 'left', cell: (v) => ENERGY_VARIANTS[v] },
      { head: 'task 1, aligned', cell: (v) => cell(v, 'task1') },
      { head: 'task 2 when it is aligned too', cell: (v) => cell(v, 'task2Aligned') },
    ],
    variants,
    format,
  );
}
