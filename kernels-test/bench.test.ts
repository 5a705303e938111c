// The benchmark: figures that are consistent with one another, files, comparison, the command. Not how fast anything is.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BenchRow, measure } from '../src/bench/measure.ts';
import { NAMED_WORKLOADS } from '../src/bench/named-workloads.ts';
import { registryWorkloads } from '../src/bench/op-workloads.ts';
import { changeOf } from '../src/cli/bench-report.ts';
import '../src/ops/all.ts';
import { registry } from '../src/ops/core/define.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const root = mkdtempSync(join(tmpdir(), 'eli-bench-'));
test.after(async () => {
  rmSync(root, { recursive: true });
  await closeEngine();
});

test('rows have names of their own, and ops with arithmetic have rows', () => {
  const names = [...NAMED_WORKLOADS, ...registryWorkloads()].map(({ name }) => name);
  assert.is(new Set(names).size, names.length, 'no name twice');
  for (const op of registry.values()) {
    // Backward halves and pools have rows of what they are part of.
    if (op.cost === undefined || /Backward|pool|resample|scatterAdd/.test(op.name)) continue;
    assert.ok(op.bench !== undefined && op.bench.length > 0, `${op.name} has no size to time`);
  }
});

test('a row: quartiles about the median, rates from it, memory given back', async () => {
  const workload = registryWorkloads().find(({ name }) => name === 'op: matmul [64,64] [64,64]')!;
  const before = engine.memory.inUse;
  const [row] = (await measure(engine, [workload], { time: 50 })) as [BenchRow];
  assert.is(engine.memory.inUse, before);
  assert.ok(row.low <= row.median && row.median <= row.high, JSON.stringify(row));
  assert.ok(Math.abs(row.gflops! - (2 * 64 ** 3) / row.median / 1e6) < 1e-9);
  assert.is(row.dispatches, 1);
  assert.match(row.kernel!, /matmul/);
});

test('changes count where the quartiles do not meet', () => {
  const row = (low: number, median: number, high: number) => ({ low, median, high }) as BenchRow;
  assert.is(changeOf(undefined, row(1, 2, 3)), undefined);
  assert.is(changeOf(row(1, 2, 3), row(2.9, 3, 4)), '× 1.50 (noise)');
  assert.is(changeOf(row(1, 2, 3), row(3.1, 4, 5)), '× 2.00 slower');
  assert.is(changeOf(row(3, 4, 5), row(1, 2, 2.5)), '× 0.50 faster');
});

const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
const eli = (...flags: string[]) =>
  spawnSync(process.execPath, [cli, 'bench', ...flags], { encoding: 'utf8', cwd: root });

test('the command: table, file, picture, comparison, and what is wrong', () => {
  const done = eli('op: softmax', '--time', '20', '--json', 'a.json', '--picture', 'roof');
  assert.is(done.status, 0, done.stderr);
  assert.match(done.stdout, /roofline: \d+ GFLOP\/s/);
  assert.match(done.stdout, /op: softmax \[1024,1024\]/);
  const file = JSON.parse(readFileSync(join(root, 'a.json'), 'utf8')) as { rows: BenchRow[] };
  assert.is(file.rows.length, 4, 'two sizes, fused and as plain ops');
  assert.ok(existsSync(join(root, 'roof.png')));
  const again = eli('op: softmax [8192', '--time', '20', '--compare', 'a.json');
  assert.match(again.stdout, /× \d/);
  assert.match(eli('nothing-like-this').stderr, /no row has "nothing-like-this"/);
  writeFileSync(join(root, 'b.json'), '{}');
  assert.match(eli('softmax', '--compare', 'b.json').stderr, /b\.json is not a --json file of eli bench/);
});

test('--fail-above, --markdown, --csv, and a picture whose points have names', () => {
  const base = JSON.parse(readFileSync(join(root, 'a.json'), 'utf8')) as {
    rows: BenchRow[];
    adapter: string;
  };
  const scaled = (factor: number) =>
    base.rows.map((row) => ({
      ...row,
      ...{ low: row.low * factor, high: row.high * factor },
      median: row.median * factor,
    }));
  writeFileSync(join(root, 'fast.json'), JSON.stringify({ ...base, adapter: 'another', rows: scaled(1e-3) }));
  writeFileSync(join(root, 'slow.json'), JSON.stringify({ ...base, rows: scaled(1e3) }));
  writeFileSync(join(root, 'none.json'), JSON.stringify({ ...base, rows: [] }));
  const row = ['op: softmax [8192,10]', '--time', '20'];
  const slower = eli(...row, '--compare', 'fast.json', '--fail-above', '1.3', '--csv');
  assert.is(slower.status, 1);
  assert.match(slower.stderr, /fast\.json was measured on another, not on /);
  assert.match(
    slower.stderr,
    /2 of 2 rows take more than 1\.3 times as long as in fast\.json:\n.*softmax.*: × \d/,
  );
  const [head, ...lines] = slower.stdout.trim().split('\n');
  assert.is(
    head,
    'name,unit,median,low,high,samples,first,ratio,gpu,dispatches,kernel,gflops,gbs,race,before,failed',
  );
  assert.is(lines.length, 2, 'nothing but the table');
  assert.match(lines[0]!, /^"op: softmax \[8192,10\]",runs,[\d.e-]+,/);
  const faster = eli(...row, '--compare', 'slow.json', '--fail-above', '1.3', '--markdown');
  assert.is(faster.status, 0, faster.stderr);
  assert.match(
    faster.stdout,
    /\n\n\| row \| ms \| quartiles \|.* longest kernel \| before \|\n\| :-- \| --: \|/,
  );
  const none = eli(...row, '--compare', 'none.json', '--fail-above', '1.3');
  assert.is(none.status, 1);
  assert.match(none.stderr, /none\.json has none of these rows/);
  for (const [flags, message] of [
    [['--fail-above', '1.3'], /--fail-above needs --compare/],
    [['--watch'], /--watch needs --shader/],
    [['--csv', '--markdown'], /--csv cannot be combined with --markdown/],
    [['overhead', '--picture', 'x'], /nothing to draw: none of these rows counts operations and bytes/],
  ] as const) {
    assert.match(eli(...flags).stderr, message);
  }
  const svg = readFileSync(join(root, 'roof.svg'), 'utf8');
  for (const [i, { name }] of base.rows.entries()) {
    assert.ok(svg.includes(`${i + 1}  ${name.replace('op: ', '')}`), `${name} in the legend`);
  }
});

test.run();
