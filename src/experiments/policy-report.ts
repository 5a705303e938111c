import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PolicyCurve, PolicyQuantiles, PolicyResults, PolicyRow } from '../eli/policies/evaluate.ts';
import type { PolicyScores } from '../eli/policies/scores.ts';
import { stableJson, writeJson } from '../report/json.ts';
import { type PictureSpec, savePicture } from '../report/picture.ts';
import { formatMeanStd, meanStd } from '../report/stats.ts';
import { renderTable, type TableFormat } from '../report/table.ts';
import { type TradeoffPanel, tradeoffSpec } from '../report/tradeoff.ts';

const REPORT_FILE = 'report.json';

/** Which policies are measured: those of the short table, or all. */
export type ReportKind = 'short' | 'full';

/** What a report depends on beside the models. */
export interface PolicySettings extends PolicyQuantiles {
  readonly kind: ReportKind;
}

/** How the policies do on the models of one seed, with latents of size `latent`. */
export interface PolicyReport extends PolicyResults {
  readonly seed: number;
  readonly latent: number;
}

/** A policy's figures over all seeds in %; `values` in the order of the seeds. */
interface Summary extends Pick<PolicyRow, 'map' | 'policy' | 'saved' | 'chosen'> {
  values(key: keyof PolicyScores | 'auroc'): number[];
}

const KEYS = ['task1', 'task2', 'mixed', 'noLabel', 'gate', 'auroc'] as const;

/** What an experiment calls the figures. */
export type FigureNames = Readonly<Record<(typeof KEYS)[number], string>>;

const mean = (values: readonly number[]): number => meanStd(values).mean;

/** The same policy of all seeds in one. Seeds of one run measure the same policies in the same order. */
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

/** The rows of the short table: what must not be missing, and of the controls the best. */
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

/** The report as a table, test accuracy in %: all rows, or those that a plain run shows. */
export function policyTable(
  reports: readonly PolicyReport[],
  kind: ReportKind,
  names: FigureNames,
  format: TableFormat = 'terminal',
): Promise<string> {
  const all = summarize(reports);
  const digits = reports.length === 1 ? 2 : 1;
  return renderTable(
    [
      { head: 'aligned by', align: 'left', cell: ({ map }) => (map === 'none' ? undefined : map) },
      { head: 'when', align: 'left', cell: (row) => row.policy + (row.chosen ? ' *' : '') },
      ...KEYS.map((key) => ({
        head: names[key],
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

/**
 * Writes report.json, and tradeoff.svg and .png if pictures are wanted. `settings` are what the reports depend on
 * beside the models; `data` is the name of the data set in the picture.
 */
export async function savePolicies(
  folder: string,
  reports: readonly PolicyReport[],
  settings: PolicySettings,
  pictures: { readonly data: string } | undefined,
): Promise<void> {
  const summary = summarize(reports).map(({ map, policy, saved, chosen, values }) => {
    const figures = KEYS.map((key) => [key, values(key)] as const).filter(([, list]) => list.length > 0);
    return {
      map,
      policy,
      saved,
      chosen,
      ...Object.fromEntries(figures.map(([key, list]) => [key, meanStd(list)])),
    };
  });
  await writeJson(join(folder, REPORT_FILE), { settings, summary, seeds: reports });
  if (pictures) await savePicture(join(folder, 'tradeoff'), policyPicture(reports, pictures.data));
}

/**
 * The report of one seed that an earlier run wrote, so that a resumed run need not measure it again. Undefined where
 * there is none, it was made with other settings, or it cannot be read: then it is measured.
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

/** The trade-off of ELI and of the ridge map, means over the seeds. */
function policyPicture(reports: readonly PolicyReport[], data: string): PictureSpec {
  const { latent, seed } = reports[0]!;
  const all = summarize(reports);
  const point = ({ values }: Summary) => ({
    old: mean(values('noLabelOld')),
    new: mean(values('noLabelNew')),
  });
  const panel = (map: string, title: string): TradeoffPanel => ({
    title,
    curves: averageCurves(reports, map).map(({ policy, saved, points }) => ({
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
      `${data}, latents of ${latent}, ${seeds}; lines: the gate’s threshold moves from “all old” to “none”`,
      'filled circles: thresholds put from current-task training data alone',
    ],
  );
}

/** The curves of one map, each point a mean over the seeds. */
function averageCurves(reports: readonly PolicyReport[], map: string): PolicyCurve[] {
  return reports[0]!.curves
    .map((curve, i) => ({
      ...curve,
      points: curve.points.map((_, p) => ({
        old: mean(reports.map(({ curves }) => curves[i]!.points[p]!.old)),
        new: mean(reports.map(({ curves }) => curves[i]!.points[p]!.new)),
      })),
    }))
    .filter((curve) => curve.map === map);
}
