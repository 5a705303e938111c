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
import { changeOf } from '../src/cli/bench.ts';
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
  const [row] = (await measure(engine, [workload], 50)) as [BenchRow];
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

test('the command: table, file, picture, comparison, and what is wrong', () => {
  const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
  const eli = (...flags: string[]) =>
    spawnSync(process.execPath, [cli, 'bench', ...flags], { encoding: 'utf8', cwd: root });
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

test.run();
