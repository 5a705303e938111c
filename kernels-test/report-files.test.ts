import { appendFileSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { stableJson, writeJson } from '../src/report/json.ts';
import { createProgress } from '../src/report/progress.ts';
import { defaultRunFolder, lockRunFolder } from '../src/report/run-folder.ts';
import { RunLog } from '../src/report/run-log.ts';
import { formatMeanStd, meanStd } from '../src/report/stats.ts';
import { type Column, renderTable, resultColumns } from '../src/report/table.ts';
import { hasCode } from './support/report.ts';

let folder = '';
test.before.each(async () => {
  folder = await mkdtemp(join(tmpdir(), 'eli-report-'));
});
test.after.each(() => rm(folder, { recursive: true }));

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'none';
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test('a run folder is new or empty, and an old one only for --resume', async () => {
  const path = join(folder, 'a', 'b');
  // As a process leaves it that is killed while it writes, and what somebody else named alike.
  const take = async (resume = false): Promise<void> => (await lockRunFolder(path, { resume })).release();
  await take();
  await take();
  assert.equal(readdirSync(path), []);
  const [half, lock] = [join(path, '.tmp-eli-12-0123456789ab'), join(path, '.lock-1')];
  writeFileSync(half, 'half');
  writeFileSync(lock, '{}');
  assert.is(await codeOf(take(true)), 'RUN_FOLDER');
  writeFileSync(lock, '{}');
  await take();
  assert.equal(readdirSync(path), []);
  // Without the lock of a run that was killed, they are somebody else's, whatever their names.
  for (const name of ['.tmp-notes', '.tmp-1-0123456789ab', '.tmp-eli-1-0123456789ab', 'environment.json']) {
    writeFileSync(join(path, name), 'mine');
    assert.is(await codeOf(take()), 'RUN_FOLDER', name);
    assert.is(await codeOf(take(true)), 'RUN_FOLDER', name);
    assert.equal(readdirSync(path), [name]);
    assert.is(readFileSync(join(path, name), 'utf8'), 'mine');
    rmSync(join(path, name));
  }
  writeFileSync(join(path, 'config.json'), '{}');
  try {
    await take();
    assert.unreachable();
  } catch (error) {
    assert.ok(hasCode('RUN_FOLDER')(error));
    assert.match((error as Error).message, /already holds files \(config\.json\).*--out.*--resume/s);
  }
  await take(true);
  assert.equal(readdirSync(path), ['config.json']);
  assert.is(await codeOf(lockRunFolder(join(path, 'config.json'))), 'RUN_FOLDER');
  assert.is(await codeOf(lockRunFolder(join(path, 'config.json', 'c'))), 'RUN_FOLDER');
  assert.is(await codeOf(lockRunFolder(join(folder, 'none'), { resume: true })), 'RUN_FOLDER');
});

test('the default run folder says what and when', () => {
  assert.is(
    defaultRunFolder('mnist-d32', new Date(2026, 10, 23, 9, 5, 7)),
    join('runs', 'mnist-d32-20261123-090507'),
  );
});

test('a log keeps its events, and a torn line is cut off on resuming', () => {
  const path = join(folder, 'log.jsonl');
  const log = new RunLog(path);
  log.write({ event: 'start', seed: 1 });
  log.write({ step: 1000, loss: Number.NaN });
  assert.is(log.length, 2);
  log.close();
  assert.throws(() => new RunLog(path), hasCode('RUN_FOLDER'));
  const whole = readFileSync(path, 'utf8');
  assert.is(whole, '{"event":"start","seed":1}\n{"step":1000,"loss":"NaN"}\n');

  for (const torn of ['{"step":2000,"lo', '{"step":2000}', '\0\0\0\0\n']) {
    appendFileSync(path, torn);
    const resumed = new RunLog(path, { resume: true });
    assert.is(resumed.length, 2);
    resumed.close();
    assert.is(readFileSync(path, 'utf8'), whole);
  }
});

test('a resumed log has no event twice', () => {
  const path = join(folder, 'log.jsonl');
  const first = new RunLog(path, { resume: true });
  first.write({ event: 'start' });
  for (const step of [1, 2, 3, 4]) first.write({ step });
  first.close();
  const second = new RunLog(path, { resume: true, length: 3 });
  assert.is(second.length, 3);
  second.write({ step: 3, again: true });
  second.close();
  assert.is(
    readFileSync(path, 'utf8'),
    '{"event":"start"}\n{"step":1}\n{"step":2}\n{"step":3,"again":true}\n',
  );
  new RunLog(path, { resume: true, length: 1 }).close();
  assert.is(readFileSync(path, 'utf8'), '{"event":"start"}\n');
});

test('a log broken in the middle is refused and left as it is', () => {
  const path = join(folder, 'log.jsonl');
  writeFileSync(path, '{"step":1}\nnonsense\n{"step":2}\n');
  assert.throws(() => new RunLog(path, { resume: true }), /Line 2 of the log .* is not a JSON object/);
  assert.is(readFileSync(path, 'utf8'), '{"step":1}\nnonsense\n{"step":2}\n');
  assert.throws(() => new RunLog(join(folder, 'none', 'log.jsonl')), hasCode('FILE'));
});

test('JSON has the same bytes whatever the order of its keys', async () => {
  const a = {
    latent: 32,
    curve: Float32Array.of(1, 0.5),
    seeds: [{ b: 1, a: Number.NaN }],
    none: undefined,
    e: {},
  };
  const b = { e: {}, seeds: [{ a: Number.NaN, b: 1 }], curve: [1, 0.5], latent: 32 };
  const path = join(folder, 'metrics.json');
  await writeJson(path, a);
  const text = readFileSync(path, 'utf8');
  assert.is(text, stableJson(b));
  assert.is(
    text,
    '{\n  "curve": [1, 0.5],\n  "e": {},\n  "latent": 32,\n  "seeds": [\n    {\n      "a": "NaN",\n      "b": 1\n    }\n  ]\n}\n',
  );
  assert.equal(JSON.parse(text).curve, [1, 0.5]);
  assert.is(stableJson([]), '[]\n');
});

test('mean and sample standard deviation', () => {
  assert.equal(meanStd([2, 4, 4, 4, 6]), { n: 5, mean: 4, std: Math.SQRT2, min: 2, max: 6 });
  assert.equal(meanStd(Float32Array.of(3)), { n: 1, mean: 3, std: 0, min: 3, max: 3 });
  assert.ok(Number.isNaN(meanStd([]).mean));
  assert.is(formatMeanStd(meanStd([3]), 1), '3.0');
  assert.is(formatMeanStd(meanStd([2, 4, 4, 4, 6]), 2, true), '4.00 ± 1.41 [2.00, 6.00]');
});

test('a result stands beside what is published and the reference', async () => {
  const rows = [
    {
      name: 'task 1, aligned',
      ours: [80, 82],
      published: 83.44,
      reference: { mean: 80.4, std: 7.7, min: 68.5, max: 91.7 },
    },
    { name: 'task 2 | aligned', ours: [38.62] },
  ];
  assert.is(
    await renderTable(resultColumns(), rows, 'markdown'),
    [
      '|  | ours | published | reference, mean ± std [range] |',
      '| :-- | --: | --: | --: |',
      '| task 1, aligned | 81.0 ± 1.4 | 83.4 | 80.4 ± 7.7 [68.5, 91.7] |',
      '| task 2 \\| aligned | 38.6 | – | – |',
    ].join('\n'),
  );
  const terminal = await renderTable(resultColumns(2), rows);
  assert.match(
    terminal,
    /│ task 1, aligned +│ +81\.00 ± 1\.41 │ +83\.44 │ +80\.40 ± 7\.70 \[68\.50, 91\.70\] │/,
  );
  assert.not.ok(terminal.includes('\u001b'), 'no colours');
  assert.is(await codeOf(renderTable([], rows)), 'ARGUMENT');
});

test('a table fits its terminal: fewer columns, then shorter texts, never a wrapped box', async () => {
  const columns: Column<string>[] = [
    { head: 'row', align: 'left', cell: (name) => name },
    { head: 'ms', cell: () => '12.5' },
    { head: 'longest kernel', align: 'left', rank: 2, cell: () => 'matmul/registers TILE=64' },
    { head: 'GB/s', rank: 1, cell: () => '10.0' },
    { head: 'share', cell: () => '50 %' },
  ];
  const rows = ['op: softmax [1024,1024]', `op: matmul ${'[128,128] '.repeat(8)}(plain ops)`];
  for (const width of [200, 120, 80, 60, 40, 20]) {
    const text = await renderTable(columns, rows, 'terminal', width);
    const box = text.split('\n').filter((line) => /^[┌├│└]/.test(line));
    assert.is(box.length, 2 * rows.length + 3, `${width}: each row is one line\n${text}`);
    assert.ok(Math.max(...text.split('\n').map((line) => line.length)) <= Math.max(width, 24), text);
    assert.match(text, /12\.5/);
  }
  const at = (width: number) => renderTable(columns, rows, 'terminal', width);
  assert.match(await at(200), /longest kernel.*GB\/s/);
  assert.match(await at(130), /row.*ms.*GB\/s.*share/);
  assert.match(await at(130), /not shown in 130 columns: longest kernel \(/);
  assert.match(await at(80), /op: softmax \[1024,1024\] .*\n.*\n.*op: matmul \[1.*….*\(plain ops\)/);
  assert.match(await at(80), /not shown in 80 columns: longest kernel, GB\/s/);
  assert.match(await renderTable(columns, rows, 'markdown', 20), /longest kernel/);
  const before = process.env.COLUMNS;
  try {
    process.env.COLUMNS = '30';
    assert.ok((await renderTable(columns, rows)).split('\n').every((line) => line.length <= 30));
  } finally {
    if (before === undefined) delete process.env.COLUMNS;
    else process.env.COLUMNS = before;
  }
});

test('progress without a terminal is a line now and then, and one at the end', () => {
  let clock = 0;
  let text = '';
  const stream = {
    write(part: string) {
      text += part;
      return true;
    },
  };
  const progress = createProgress({ stream, interval: 10_000, now: () => clock });
  const task = progress('aligner', 100, 'iterations', 40);
  for (let i = 41; i <= 100; i++) {
    clock += 500;
    task.update(i, `loss ${i}`);
  }
  task.done();
  assert.equal(text.split('\n'), [
    'aligner: 60/100 iterations (60 %)  2.0 iterations/s, 20 s left, loss 60',
    'aligner: 80/100 iterations (80 %)  2.0 iterations/s, 10 s left, loss 80',
    'aligner: 100/100 iterations (100 %)  2.0 iterations/s, took 30 s, loss 100',
    '',
  ]);
});

test.run();
