import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { holdOut } from '../../data/hold-out.ts';
import type { ImageData } from '../../data/image-set.ts';
import { EnergyAligner } from '../../eli/aligner.ts';
import type { AlignerState, LatentPairs } from '../../eli/fit.ts';
import { fitMap } from '../../eli/maps/closed-forms.ts';
import type { LatentMap } from '../../eli/maps/map.ts';
import { readOnce } from '../../eli/moments.ts';
import type { AlignerOptions } from '../../eli/options.ts';
import { EliError } from '../../errors.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Linear } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import { div, mul, sub } from '../../ops/binary.ts';
import { gather } from '../../ops/gather.ts';
import { mean } from '../../ops/reduce.ts';
import { sqrt } from '../../ops/unary.ts';
import { writeJson } from '../../report/json.ts';
import { type Progress, withBar } from '../../report/progress.ts';
import { formatMeanStd, meanStd } from '../../report/stats.ts';
import { renderTable } from '../../report/table.ts';
import { tensor } from '../../tensor/create.ts';
import { type Scope, withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { LabelledSamples } from '../../train/samples.ts';
import { checkpointPath } from '../checkpoint.ts';
import { readCheckpoint } from './checkpoint.ts';
import { alignerOptions } from './config.ts';
import { accuracy, latentsOf, layerOf, type TwoTasks, twoTasks } from './two-task.ts';

/** Variants of the energy and its chains, and how each differs from the original. */
export const ENERGY_VARIANTS = {
  original: 'as the paper has it',
  'mean-shift': 'chains start at latents + mean(previous − current)',
  ridge: 'chains start at the ridge map of the latents',
  'per-dimension': 'a separate step size for each dimension: ε times the variance of the previous latents',
  'early-stop':
    'of the averages every 1,000 iterations, keeps the one that brings held-out pairs closest to their previous latents',
  'ridge-alone': 'the ridge map without a chain (control)',
} as const;
export type EnergyVariant = keyof typeof ENERGY_VARIANTS;

/** Test accuracies in % of one seed with one variant. */
export interface EnergyResult {
  readonly seed: number;
  readonly variant: EnergyVariant;
  /** Task 1 on aligned latents, with the drifted head 1. */
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
 * Learns other energies for the models of a finished run and evaluates them as the experiment does; writes
 * `energy-variants.json` into the run's folder.
 * @throws EliError `RUN_FOLDER` when there is no finished run, `ABORTED`.
 */
export async function runMnistEnergies(
  engine: Engine,
  mnist: ImageData,
  run: EnergiesRun,
): Promise<EnergyResult[]> {
  const results = await withScope(engine, async (scope) => {
    const sets = twoTasks(engine, mnist, scope);
    const all: EnergyResult[] = [];
    for (const folder of seedFolders(run.folder))
      all.push(...(await withScope(engine, (own) => runSeed(engine, folder, sets, run, own))));
    return all;
  });
  await writeJson(join(run.folder, 'energy-variants.json'), results);
  return results;
}

/** The checkpoint of a finished seed in `folder`, of the run in `out`. */
async function finishedRun(folder: string, out: string) {
  const { config, classifier, afterTask1, aligner } = (await readCheckpoint(folder))!;
  if (afterTask1 === undefined || aligner === undefined || aligner.iteration < config.iterations) {
    throw new EliError('RUN_FOLDER', `the run in ${folder} is not finished`, {
      hint: `first finish it: repeat its command with --resume --out ${out}`,
    });
  }
  return { config, classifier, afterTask1, aligner };
}

/** All variants with the models of one seed. */
async function runSeed(
  engine: Engine,
  folder: string,
  { train2, test1, test2 }: TwoTasks,
  { folder: out, variants, progress, signal }: EnergiesRun,
  scope: Scope,
): Promise<EnergyResult[]> {
  const { config, classifier, afterTask1, aligner } = await finishedRun(folder, out);
  const { seed } = config;
  const layer = (state: StateDict, name: string): Linear => scope.add(layerOf(engine, state, name));
  const [previous, current] = [layer(afterTask1, 'base'), layer(classifier.model, 'base')];
  const [head1, head2] = [layer(classifier.model, 'head1'), layer(classifier.model, 'head2')];
  const latents = (base: Linear, samples: LabelledSamples): Tensor =>
    scope.own(() => latentsOf(base, samples));
  const pairs = { previous: latents(previous, train2), current: latents(current, train2) };
  const [first, second] = [latents(current, test1), latents(current, test2)];
  const fit: Fit = { pairs, options: alignerOptions(config), hooks: { signal } };
  return withBar(progress(`seed ${seed}`, variants.length, 'energies'), async (bar) => {
    const results: EnergyResult[] = [];
    for (const variant of variants) {
      const result = await withScope(engine, async (own) => {
        const map = await learn(variant, fit, aligner, own);
        const [aligned1, aligned2] = [own.own(() => map.align(first)), own.own(() => map.align(second))];
        const task1 = await accuracy(head1, aligned1, test1.hostLabels);
        return { seed, variant, task1, task2Aligned: await accuracy(head2, aligned2, test2.hostLabels) };
      });
      results.push(result);
      bar.update(results.length, `${variant}: task 1 at ${result.task1.toFixed(1)} %`);
    }
    return results;
  });
}

/** The folder of each seed, in the order of the seeds. */
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

/** What the variants learn from. */
interface Fit {
  readonly pairs: LatentPairs;
  readonly options: AlignerOptions;
  readonly hooks: { readonly signal: AbortSignal | undefined };
}

/** The map of a variant; it lives as long as `scope`. */
async function learn(
  variant: EnergyVariant,
  fit: Fit,
  original: AlignerState,
  scope: Scope,
): Promise<Pick<LatentMap, 'align'>> {
  const { pairs, options, hooks } = fit;
  const { engine } = pairs.previous;
  switch (variant) {
    case 'original':
      return scope.add(await EnergyAligner.fit(engine, pairs, options, { resume: original }));
    case 'mean-shift':
    case 'ridge':
      return scope.add(await EnergyAligner.fit(engine, pairs, { ...options, start: variant }, hooks));
    case 'per-dimension':
      return perDimension(fit, scope);
    case 'early-stop':
      return earlyStop(fit, scope);
    case 'ridge-alone':
      return fitMap('ridge', pairs);
  }
}

/** The original in coordinates where previous latents have variance 1: a step of ε there is one of ε σ² here. */
async function perDimension(
  { pairs: { previous, current }, options, hooks }: Fit,
  scope: Scope,
): Promise<Pick<LatentMap, 'align'>> {
  const { engine } = previous;
  const deviation = scope.own(() => {
    const centred = sub(previous, mean(previous, 0, true));
    return sqrt(mean(mul(centred, centred), 0, true));
  });
  const scaled = {
    previous: scope.own(() => div(previous, deviation)),
    current: scope.own(() => div(current, deviation)),
  };
  const aligner = scope.add(await EnergyAligner.fit(engine, scaled, options, hooks));
  return { align: (latents) => mul(aligner.align(div(latents, deviation)), deviation) };
}

/** One in this many pairs is held out. */
const HELD_OUT = 10;

async function earlyStop({ pairs, options, hooks }: Fit, scope: Scope): Promise<Pick<LatentMap, 'align'>> {
  const { engine } = pairs.previous;
  const rows = holdOut(pairs.previous.shape[0]!, HELD_OUT);
  const part = (chosen: typeof rows.fit): LatentPairs => {
    const index = scope.own(() => tensor(engine, chosen));
    return {
      previous: scope.own(() => gather(pairs.previous, index)),
      current: scope.own(() => gather(pairs.current, index)),
    };
  };
  const [fit, held] = [part(rows.fit), part(rows.heldOut)];
  let best: { distance: number; state: AlignerState } | undefined;
  const full = await EnergyAligner.fit(engine, fit, options, {
    ...hooks,
    onProgress: async ({ aligner }) => {
      const squares = await readOnce(held.current, () => {
        const off = sub(aligner.align(held.current), held.previous);
        return mean(mul(off, off));
      });
      const distance = squares[0]!;
      if (best === undefined || distance < best.distance) best = { distance, state: await aligner.state() };
    },
  });
  full.dispose();
  const { state } = best!;
  const stopped = { ...options, iterations: state.iteration };
  return scope.add(await EnergyAligner.fit(engine, fit, stopped, { resume: state }));
}

/** A table with one row per variant: mean ± std over the seeds. */
export function energiesTable(results: readonly EnergyResult[]): Promise<string> {
  const variants = [...new Set(results.map((r) => r.variant))];
  const cell = (variant: EnergyVariant, key: 'task1' | 'task2Aligned'): string =>
    formatMeanStd(meanStd(results.filter((r) => r.variant === variant).map((r) => r[key])), 2);
  return renderTable(
    [
      { head: 'energy', align: 'left', cell: (v: EnergyVariant) => v },
      { head: 'what is new', align: 'left', rank: 1, cell: (v) => ENERGY_VARIANTS[v] },
      { head: 'task 1, aligned', cell: (v) => cell(v, 'task1') },
      { head: 'task 2 when it is aligned too', cell: (v) => cell(v, 'task2Aligned') },
    ],
    variants,
  );
}
