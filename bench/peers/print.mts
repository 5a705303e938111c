// Prints comparisons as Markdown tables.
import { writeFile } from 'node:fs/promises';
import { type Column, renderTable } from '../../src/report/table.ts';
import { type Comparison, compare, type Timing } from './compare.mts';
import { goalOf } from './goals.mts';
import { OURS } from './libraries.mts';

/** One line of a table. */
interface Line extends Timing {
  readonly workload: string;
  readonly unit: string;
  readonly figure: number;
  /** Its time over ours. */
  readonly ratio: number;
  readonly goal: number | undefined;
}

function linesOf({ name, unit, figure }: Comparison, timings: readonly Timing[], goals: boolean): Line[] {
  const ours = timings[0]!.median;
  return timings.map((timing) => ({
    ...timing,
    workload: name,
    unit,
    figure: figure(timing.median),
    ratio: timing.median / ours,
    goal: goals ? goalOf(name, timing.library) : undefined,
  }));
}

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

const COLUMNS: Column<Line>[] = [
  { head: 'library', align: 'left', cell: (line) => line.library },
  { head: 'figure', cell: (line) => `${short(line.figure)} ${line.unit}` },
  { head: 'ms, median', cell: (line) => line.median.toPrecision(3) },
  { head: 'quartiles', cell: (line) => `${line.low.toPrecision(3)}–${line.high.toPrecision(3)}` },
  { head: 'off float64', cell: ({ off }) => off?.toExponential(0) },
  {
    head: 'its time / ours',
    cell: (line) => (line.library.startsWith(OURS) ? undefined : `${short(line.ratio)} ×`),
  },
  {
    head: 'goal',
    cell: ({ goal, ratio }) =>
      goal === undefined ? undefined : `≥ ${goal} × ${ratio >= goal ? 'reached' : 'missed'}`,
  },
];

export interface PrintOptions {
  /** Whether goals stand beside the ratios. */
  readonly goals: boolean;
  /** File to write all lines to, with what they were measured on. */
  readonly json: string | undefined;
  readonly about: Readonly<Record<string, string>>;
}

/** Measures them one after the other, printing as it goes; true if all results were right. */
export async function printComparisons(
  comparisons: readonly (() => Promise<Comparison>)[],
  { goals, json, about }: PrintOptions,
): Promise<boolean> {
  console.log(Object.values(about).join('; '));
  const lines: Line[] = [];
  const problems: string[] = [];
  for (const make of comparisons) {
    const comparison = await make();
    const timings = await compare(comparison, (problem) => problems.push(problem));
    const some = linesOf(comparison, timings, goals);
    const columns = COLUMNS.filter(({ head }) => goals || head !== 'goal');
    console.log(`\n${comparison.name}\n\n${await renderTable(columns, some, 'markdown')}`);
    lines.push(...some);
  }
  for (const problem of problems) console.error(`\n${problem}`);
  if (json !== undefined) await writeFile(json, `${JSON.stringify({ ...about, lines }, undefined, 2)}\n`);
  return problems.length === 0;
}
