import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stableJson, writeJson } from '../../report/json.ts';
import { savePicture } from '../../report/picture.ts';
import { formatMeanStd, meanStd } from '../../report/stats.ts';
import { renderTable, type TableFormat } from '../../report/table.ts';
import { type TradeoffPanel, tradeoffSpec } from '../../report/tradeoff.ts';
import type {
  MapName,
  PolicyCurve,
  PolicyReport,
  PolicyRow,
  PolicySettings,
  ReportKind,
} from './policies.ts';

const REPORT_FILE = 'report.json';

/** A policy's figures over all seeds; `values` in the order of the seeds. */
interface Summary extends Pick<PolicyRow, 'map' | 'policy' | 'saved' | 'chosen'> {
  values(key: Figure): number[];
}

const FIGURES = {
  task1: 'task 1',
  task2: 'task 2',
  mixed: 'both',
  noLabel: '10-way',
  gate: 'gate',
  auroc: 'AUROC',
} as const;
type Figure = keyof typeof FIGURES;

/** What the table's heads mean. */
export const POLICY_NOTES = [
  'task 1, task 2, both: the right head is given, the policy decides on alignment; 10-way: no label is given',
  'the old head is the one saved after task 1 (the table above has it as it drifted in task 2)',
  'gate: samples whose task it tells right; never, always: no task is told, the surer head answers',
  '*: gates chosen beforehand, without and with statistics of task 1 that were saved when it was learnt',
].join('\n');

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
  const best = [false, true].flatMap((saved) => {
    const of = controls.filter((row) => row.saved === saved);
    return of
      .toSorted((a, b) => meanStd(b.values('noLabel')).mean - meanStd(a.values('noLabel')).mean)
      .slice(0, 1);
  });
  return [...eli, ...best];
}

/** The report as a table, test accuracy in %: all rows, or those that a plain run shows. */
export function policyTable(
  reports: readonly PolicyReport[],
  kind: ReportKind,
  format: TableFormat = 'terminal',
): Promise<string> {
  const all = summarize(reports);
  const digits = reports.length === 1 ? 2 : 1;
  const figure = (key: Figure) => ({
    head: FIGURES[key],
    cell: (row: Summary): string | undefined => {
      const values = row.values(key);
      return values.length === 0 ? undefined : formatMeanStd(meanStd(values), digits);
    },
  });
  return renderTable(
    [
      { head: 'aligned by', align: 'left', cell: ({ map }) => (map === 'none' ? undefined : map) },
      { head: 'when', align: 'left', cell: (row) => row.policy + (row.chosen ? ' *' : '') },
      ...(Object.keys(FIGURES) as Figure[]).map(figure),
    ],
    kind === 'short' ? shortRows(all) : all,
    format,
  );
}

/** Writes report.json, and tradeoff.svg and .png if pictures are wanted. `settings` are what the reports depend on beside the models. */
export async function savePolicies(
  folder: string,
  reports: readonly PolicyReport[],
  settings: PolicySettings,
  pictures: boolean,
): Promise<void> {
  const summary = summarize(reports).map(({ map, policy, saved, chosen, values }) => ({
    map,
    policy,
    saved,
    chosen,
    ...Object.fromEntries(
      (Object.keys(FIGURES) as Figure[])
        .map((key) => [key, values(key)] as const)
        .filter(([, list]) => list.length > 0)
        .map(([key, list]) => [key, meanStd(list)]),
    ),
  }));
  await writeJson(join(folder, REPORT_FILE), { settings, summary, seeds: reports });
  if (pictures) await savePicture(join(folder, 'tradeoff'), policyPicture(reports));
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

/** The trade-off of ELI and of the ridge map, means over the seeds. */
function policyPicture(reports: readonly PolicyReport[]): ReturnType<typeof tradeoffSpec> {
  const { latent } = reports[0]!;
  const rows = (map: MapName): PolicyRow[] => averageRows(reports, map);
  const panel = (map: MapName, title: string): TradeoffPanel => ({
    title,
    curves: averageCurves(reports, map).map(({ policy, saved, points }) => {
      const row = rows(map).find((candidate) => candidate.policy === policy)!;
      return {
        name: saved ? policy : policy.replace('heads (ridge)', 'heads'),
        points,
        chosen: { old: row.noLabelOld, new: row.noLabelNew },
      };
    }),
    marks: [...rows('none'), ...rows(map)]
      .filter(({ policy }) => ['never', 'always', 'oracle'].includes(policy))
      .map(({ policy, noLabelOld, noLabelNew }) => ({
        name: MARKS[policy]!,
        old: noLabelOld,
        new: noLabelNew,
      })),
  });
  const seeds = reports.length === 1 ? `seed ${reports[0]!.seed}` : `mean of ${reports.length} seeds`;
  return tradeoffSpec([panel('ELI', 'aligned by ELI'), panel('ridge', 'aligned by a ridge map (control)')], {
    subtitle: [
      `MNIST, latents of ${latent}, ${seeds}; lines: the gate’s threshold moves from “all old” to “none”`,
      'filled circles: thresholds put from current-task training data alone',
    ],
  });
}

const MARKS: Readonly<Record<string, string>> = {
  never: 'never align',
  always: 'always align',
  oracle: 'oracle',
};

const mean = (values: readonly number[]): number => meanStd(values).mean;

function averageRows(reports: readonly PolicyReport[], map: MapName): PolicyRow[] {
  return reports[0]!.rows.flatMap((row, i) =>
    row.map !== map
      ? []
      : [
          {
            ...row,
            noLabelOld: mean(reports.map(({ rows }) => rows[i]!.noLabelOld)),
            noLabelNew: mean(reports.map(({ rows }) => rows[i]!.noLabelNew)),
          },
        ],
  );
}

function averageCurves(reports: readonly PolicyReport[], map: MapName): PolicyCurve[] {
  return reports[0]!.curves.flatMap((curve, i) =>
    curve.map !== map
      ? []
      : [
          {
            ...curve,
            points: curve.points.map((_, p) => ({
              old: mean(reports.map(({ curves }) => curves[i]!.points[p]!.old)),
              new: mean(reports.map(({ curves }) => curves[i]!.points[p]!.new)),
            })),
          },
        ],
  );
}
