// Our times beside other libraries', on one adapter and CPU, in one run: see bench/README.md.
//
//   npm --prefix bench/peers ci
//   npx tsx bench/peers/table.mts [filter] [--json FILE]
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { type Column, renderTable } from '../../src/report/table.ts';
import { chainComparison } from './chain.mts';
import { type Comparison, compare, type Timing } from './compare.mts';
import { convComparison } from './conv.mts';
import { eliComparison } from './eli.mts';
import { goalOf } from './goals.mts';
import { type Libraries, OURS, startLibraries } from './libraries.mts';
import { matmulComparison } from './matmul.mts';
import { mlpComparison } from './mlp.mts';

const COMPARISONS: Readonly<Record<string, (libraries: Libraries) => Promise<Comparison>>> = {
  'eli-32': (libraries) => eliComparison(libraries, 32),
  'eli-512': (libraries) => eliComparison(libraries, 512),
  'matmul-512': (libraries) => matmulComparison(libraries, 512),
  'matmul-1024': (libraries) => matmulComparison(libraries, 1024),
  mlp: mlpComparison,
  'conv-16': (libraries) => convComparison(libraries, { n: 32, c: 16, size: 32, o: 16 }),
  'conv-64': (libraries) => convComparison(libraries, { n: 32, c: 64, size: 8, o: 64 }),
  ops: chainComparison,
};

/** One line of the table. */
interface Line extends Timing {
  readonly workload: string;
  readonly unit: string;
  readonly figure: number;
  /** Its time over ours. */
  readonly ratio: number;
  readonly goal: number | undefined;
}

function linesOf({ name, unit, figure }: Comparison, timings: readonly Timing[]): Line[] {
  const ours = timings[0]!.median;
  return timings.map((timing) => ({
    ...timing,
    workload: name,
    unit,
    figure: figure(timing.median),
    ratio: timing.median / ours,
    goal: goalOf(name, timing.library),
  }));
}

const short = (value: number): string => (value >= 100 ? value.toFixed(0) : value.toPrecision(3));

const COLUMNS: Column<Line>[] = [
  { head: 'library', align: 'left', cell: (line) => line.library },
  { head: 'figure', cell: (line) => `${short(line.figure)} ${line.unit}` },
  { head: 'ms, median', cell: (line) => line.median.toPrecision(3) },
  { head: 'quartiles', cell: (line) => `${line.low.toPrecision(3)}–${line.high.toPrecision(3)}` },
  { head: 'off float64', cell: (line) => line.off.toExponential(0) },
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

const { values: flags, positionals } = parseArgs({
  options: { json: { type: 'string' } },
  allowPositionals: true,
});
const chosen = Object.entries(COMPARISONS).filter(([key]) => key.includes(positionals[0] ?? ''));
if (chosen.length === 0) {
  console.error(
    `no comparison has ${positionals[0]} in its name; there are ${Object.keys(COMPARISONS).join(', ')}`,
  );
  process.exit(1);
}
const libraries = await startLibraries();
const { name, driver } = libraries.engine.adapter;
const torch =
  libraries.torch === undefined
    ? 'no PyTorch (python3, or what PYTHON names, has none): its lines are left out'
    : `PyTorch ${libraries.torch.version}`;
console.log(`${name}, ${driver}; Node ${process.version}; ${torch}`);
const lines: Line[] = [];
for (const [, make] of chosen) {
  const comparison = await make(libraries);
  const some = linesOf(comparison, await compare(comparison));
  console.log(`\n${comparison.name}\n\n${await renderTable(COLUMNS, some, 'markdown')}`);
  lines.push(...some);
}
if (flags.json !== undefined) {
  await writeFile(flags.json, `${JSON.stringify({ adapter: name, driver, torch, lines }, undefined, 2)}\n`);
}
await libraries.torch?.close();
libraries.engine.dispose();
// jax-js and TensorFlow.js keep their devices.
process.exit(0);
