import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { ImageData } from '../../data/image-set.ts';
import { removeTemporaries } from '../../files/atomic.ts';
import { makeFolder } from '../../files/files.ts';
import type { Engine } from '../../gpu/engine.ts';
import { writeJson } from '../../report/json.ts';
import { mean, meanStd } from '../../report/stats.ts';
import { type ResultRow, renderTable, resultColumns } from '../../report/table.ts';
import { TensorBoard } from '../../report/tensorboard.ts';
import { type PolicyReport, savePolicies } from '../policy-report.ts';
import { RunStopped } from '../session.ts';
import type { MnistConfig } from './config.ts';
import { COMPARISONS, METRIC_NAMES, type MnistMetrics } from './metrics.ts';
import { saveCurve } from './pictures.ts';
import { type MnistResult, runMnist } from './run.ts';
import type { MnistRun } from './state.ts';

export interface SeedsRun extends MnistRun {
  /** Called before a seed is run. */
  readonly onSeed?: (seed: number, index: number) => void;
}

/**
 * Runs all seeds of a config one after the other and writes their summary. With several seeds, each has a folder
 * `seed-<n>` in the run's folder. Seeds that are already done are run from their checkpoints.
 */
export async function runMnistSeeds(
  engine: Engine,
  config: MnistConfig,
  mnist: ImageData,
  { onSeed, ...run }: SeedsRun,
): Promise<MnistResult[]> {
  const all: MnistResult[] = [];
  for (let i = 0; i < config.seeds; i++) {
    const seed = config.seed + i;
    onSeed?.(seed, i);
    const folder = config.seeds === 1 ? run.folder : join(run.folder, `seed-${seed}`);
    const resume = run.resume && existsSync(folder);
    if (config.seeds > 1) await makeFolder(folder);
    // This process holds the lock of the run, to which the folder belongs.
    if (config.seeds > 1 && resume) await removeTemporaries(folder);
    try {
      all.push(await runMnist(engine, { ...config, seed, seeds: 1 }, mnist, { ...run, folder, resume }));
    } catch (error) {
      // The user resumes the run, not the seed.
      throw error instanceof RunStopped ? new RunStopped(run.folder, run.signal) : error;
    }
  }
  if (config.seeds > 1) await saveSummary(config, all, run);
  return all;
}

async function saveSummary(
  { gateQuantile, statisticsQuantile }: MnistConfig,
  all: readonly MnistResult[],
  { folder, pictures, tensorboard, report, guard }: MnistRun,
): Promise<void> {
  guard?.();
  if (pictures) await saveCurve(folder, all);
  const seeds = all.map(({ policies: _, ...metrics }) => metrics);
  await writeJson(join(folder, 'metrics.json'), { seeds, summary: summaryOf(seeds) });
  const reports = policiesOf(all);
  if (reports.length > 0) {
    const settings = { kind: report!, gateQuantile, statisticsQuantile };
    await savePolicies(folder, reports, settings, pictures);
  }
  if (!pictures || tensorboard !== true) return;
  const board = new TensorBoard(folder, []);
  await board.addPictures().finally(() => board.close());
}

/** The policy reports of the runs that have one. */
export function policiesOf(all: readonly MnistResult[]): PolicyReport[] {
  return all.flatMap(({ policies }) => policies ?? []);
}

/** Mean and standard deviation of each accuracy. */
function summaryOf(all: readonly MnistMetrics[]) {
  const { seed: _, latent: _latent, curve: _curve, ...accuracies } = all[0]!;
  const keys = Object.keys(accuracies) as (keyof typeof accuracies)[];
  return Object.fromEntries(
    keys.map((key) => {
      const { mean, std } = meanStd(all.map((m) => m[key]));
      return [key, { mean, std }];
    }),
  );
}

/** A table of the results beside the published figure and the reference range. */
export function mnistTable(all: readonly MnistMetrics[]): Promise<string> {
  const compared = COMPARISONS[all[0]!.latent];
  const keys = Object.keys(METRIC_NAMES) as (keyof typeof METRIC_NAMES)[];
  const rows = keys.map(
    (key): ResultRow => ({ name: METRIC_NAMES[key], ours: all.map((m) => m[key]), ...compared?.[key] }),
  );
  const columns = resultColumns(2);
  // With several seeds, the means can be compared in units of the reference's standard deviation.
  if (all.length > 1 && compared !== undefined) {
    const cell = ({ ours, reference }: ResultRow): string => {
      const off = (mean(ours) - reference!.mean) / reference!.std;
      return `${off >= 0 ? '+' : '−'}${Math.abs(off).toFixed(2)} std`;
    };
    columns.push({ head: 'off by', rank: 3, cell });
  }
  return renderTable(columns, rows);
}
