import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PolicyCurve, PolicyQuantiles, PolicyResults, PolicyRow } from '../eli/policies/evaluate.ts';
import type { PolicyScores } from '../eli/policies/scores.ts';
import { stableJson, writeJson } from '../report/json.ts';
import { type PictureSpec, savePicture } from '../report/picture.ts';
import { formatMeanStd, mean, meanStd } from '../report/stats.ts';
import { renderTable, type TableFormat } from '../report/table.ts';
import { type TradeoffPanel, tradeoffSpec } from '../report/tradeoff.ts';

const REPORT_FILE = 'report.json';

/** Which policies are measured: those of the short table, or all of them. */
export type ReportKind = 'short' | 'full';

/** What a report depends on besides the models. */
export interface PolicySettings extends PolicyQuantiles {
  readonly kind: ReportKind;
}

/** How the policies perform with the models of one seed, whose latents have size `latent`. */
export interface PolicyReport extends PolicyResults {
  readonly seed: number;
  readonly latent: number;
}

/** A policy over all seeds; `values` gives a figure of each seed in %. */
interface Summary extends Pick<PolicyRow, 'map' | 'policy' | 'saved' | 'chosen'> {
  values(key: keyof PolicyScores | 'auroc'): number[];
}

/** Figures of the report, and their heads in the table. */
const FIGURES = {
  task1: 'task 1',
  task2: 'task 2',
  mixed: 'both',
  noLabel: '10-way',
  gate: 'gate',
  auroc: 'AUROC',
} as const;
/** Which are left out first in a narrow terminal; without labels, accuracy over all classes is what counts. */
const RANKS: Partial<Record<keyof typeof FIGURES, { readonly rank: number }>> = {
  auroc: { rank: 5 },
  gate: { rank: 4 },
  mixed: { rank: 3 },
  task2: { rank: 2 },
  task1: { rank: 1 },
};
const KEYS = Object.keys(FIGURES) as (keyof typeof FIGURES)[];

export const POLICY_NOTES = [
  'task 1, task 2, both: the right head is given, the policy decides on alignment; 10-way: no label is given',
  'the old head is the one saved after task 1 (the table above shows it as it drifted in task 2)',
  'gate: samples whose task it identifies correctly; never, always: the task is not predicted, the more confident head answers',
  '*: gates chosen in advance, without and with statistics of task 1 that were saved when it was learnt',
].join('\n');

/** Combines the seeds of a run, which measure the same policies in the same order. */
function summarize(reports: readonly PolicyReport[]): Summary[] {
  return reports[0]!.rows.map((first, i) => ({
    ...first,
    values: (key) =>
      reports.flatMap(({ rows }) => {
        const value = rows[i]![key];
        return value === undefined ? [] : [key === 'auroc' ? 100 * value : value];
      }),
  }));
}

/** The rows of the short table: the essential ones and the best controls. */
function shortRows(all: readonly Summary[]): Summary[] {
  const eli = all.filter(
    ({ map, policy, chosen }) =>
      map === 'none' || (map === 'ELI' && (chosen || policy === 'always' || policy === 'oracle')),
  );
  const controls = all.filter(({ map, chosen }) => map !== 'ELI' && map !== 'none' && chosen);
  const best = [false, true].flatMap((saved) =>
    controls
      .filter((row) => row.saved === saved)
      .toSorted((a, b) => mean(b.values('noLabel')) - mean(a.values('noLabel')))
      .slice(0, 1),
  );
  return [...eli, ...best];
}

/** The report as a table, test accuracy in %: all rows, or only the short table. */
export function policyTable(
  reports: readonly PolicyReport[],
  kind: ReportKind,
  format: TableFormat = 'terminal',
): Promise<string> {
  const all = summarize(reports);
  const digits = reports.length === 1 ? 2 : 1;
  return renderTable(
    [
      { head: 'aligned by', align: 'left', cell: ({ map }) => (map === 'none' ? undefined : map) },
      { head: 'when', align: 'left', cell: (row) => row.policy + (row.chosen ? ' *' : '') },
      ...KEYS.map((key) => ({
        head: FIGURES[key],
        ...RANKS[key],
        cell: (row: Summary): string | undefined => {
          const values = row.values(key);
          return values.length === 0 ? undefined : formatMeanStd(meanStd(values), digits);
        },
      })),
    ],
    kind === 'short' ? shortRows(all) : all,
    format,
  );
}

/** Writes report.json, and tradeoff.svg and .png if pictures are wanted. */
export async function savePolicies(
  folder: string,
  reports: readonly PolicyReport[],
  settings: PolicySettings,
  pictures: boolean,
): Promise<void> {
  const summary = summarize(reports).map(({ map, policy, saved, chosen, values }) => {
    const measured = KEYS.filter((key) => values(key).length > 0);
    const figures = Object.fromEntries(measured.map((key) => [key, meanStd(values(key))]));
    return { map, policy, saved, chosen, ...figures };
  });
  await writeJson(join(folder, REPORT_FILE), { settings, summary, seeds: reports });
  if (pictures) await savePicture(join(folder, 'tradeoff'), policyPicture(reports));
}

/**
 * The report of one seed from an earlier run, so that a resumed run need not measure it again; undefined if there is none
 * with these settings, or it cannot be read.
 */
export async function loadPolicies(
  folder: string,
  settings: PolicySettings,
): Promise<PolicyReport | undefined> {
  try {
    const found = JSON.parse(await readFile(join(folder, REPORT_FILE), 'utf8')) as {
      settings: PolicySettings;
      seeds: PolicyReport[];
    };
    const same = stableJson(found.settings) === stableJson(settings);
    return same && found.seeds.length === 1 ? found.seeds[0] : undefined;
  } catch {
    return undefined;
  }
}

const MARKS: Readonly<Record<string, string>> = {
  never: 'never align',
  always: 'always align',
  oracle: 'oracle',
};

/** The trade-offs of ELI and of the ridge map, means over the seeds. */
function policyPicture(reports: readonly PolicyReport[]): PictureSpec {
  const { latent, seed } = reports[0]!;
  const all = summarize(reports);
  const curves = averageCurves(reports);
  const point = ({ values }: Summary) => ({
    old: mean(values('noLabelOld')),
    new: mean(values('noLabelNew')),
  });
  const panel = (map: string, title: string): TradeoffPanel => ({
    title,
    curves: curves
      .filter((curve) => curve.map === map)
      .map(({ policy, saved, points }) => ({
        name: saved ? policy : policy.replace('heads (ridge)', 'heads'),
        points,
        chosen: point(all.find((row) => row.map === map && row.policy === policy)!),
      })),
    marks: all
      .filter((row) => (row.map === 'none' || row.map === map) && row.policy in MARKS)
      .map((row) => ({ name: MARKS[row.policy]!, ...point(row) })),
  });
  const seeds = reports.length === 1 ? `seed ${seed}` : `mean of ${reports.length} seeds`;
  return tradeoffSpec(
    [panel('ELI', 'aligned by ELI'), panel('ridge', 'aligned by a ridge map (control)')],
    [
      `MNIST, latents of ${latent}, ${seeds}; lines: the gate’s threshold moves from “all old” to “none”`,
      'filled circles: thresholds set from current-task training data alone',
    ],
  );
}

/** The curves, each point a mean over the seeds. */
function averageCurves(reports: readonly PolicyReport[]): PolicyCurve[] {
  return reports[0]!.curves.map((curve, i) => ({
    ...curve,
    points: curve.points.map((_, p) => ({
      old: mean(reports.map(({ curves }) => curves[i]!.points[p]!.old)),
      new: mean(reports.map(({ curves }) => curves[i]!.points[p]!.new)),
    })),
  }));
}
