// `eli align`: fit, gate, apply and report on files, what it refuses, and Ctrl-C.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { main } from '../src/cli/main.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { DriftMeter, energyAuroc } from '../src/eli/drift.ts';
import { MeanShift } from '../src/eli/maps/closed-forms.ts';
import { encodeSafetensors } from '../src/files/safetensors.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { readAll, saveNpy } from './support/latents.ts';
import { gaussians } from './support/report.ts';

test.after(closeEngine);

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const d = 8;
const n = 600;
const ITERATIONS = 120;

/** Latents around two centres, and the same after a drift that differs by dimension. */
const previous = gaussians(1, n * d, 0, 0.5).map((v, i) => v + (Math.floor(i / d) % 2 === 0 ? 2 : -1));
const current = previous.map((v, i) => 0.8 * v + 0.3 * (i % d) - 1);
const prev = saveNpy(folder, 'prev.npy', previous, d);
const cur = saveNpy(folder, 'cur.npy', current, d);

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `eli align …` in this process; returns its exit code and what it printed. */
const eli = (...args: (string | number)[]): Promise<Said> => cli('align', ...args);
/** Runs `eli bench` on a row that is measured within a second. */
const eliBench = (...args: string[]): Promise<Said> => cli('bench', 'op: relu', '--time', 1, ...args);

async function cli(...args: (string | number)[]): Promise<Said> {
  const said = { out: '', err: '' };
  const { stdout, stderr } = process;
  const write = { out: stdout.write, err: stderr.write };
  const capture =
    (name: keyof typeof said): typeof stdout.write =>
    (text: string | Uint8Array) => {
      said[name] += text;
      return true;
    };
  stdout.write = capture('out');
  stderr.write = capture('err');
  try {
    return { code: await main(args.map(String)), ...said };
  } finally {
    stdout.write = write.out;
    stderr.write = write.err;
  }
}

async function works(...args: (string | number)[]): Promise<{ out: string; err: string }> {
  const { code, out, err } = await eli(...args);
  assert.is(code, 0, err);
  return { out, err };
}

async function refused(code: number, pattern: RegExp, ...args: (string | number)[]): Promise<void> {
  const result = await eli(...args);
  assert.is(result.code, code, result.err);
  assert.match(result.err, pattern);
}

/** Pairs on the engine of this file, and what `make` gives of them. */
async function onEngine<T>(make: (previous: Tensor, current: Tensor) => Promise<T>): Promise<T> {
  const engine = await openEngine();
  const tensors = [tensor(engine, previous, [n, d]), tensor(engine, current, [n, d])] as const;
  try {
    return await make(...tensors);
  } finally {
    for (const t of tensors) t.dispose();
  }
}

const near = (got: Float32Array, want: Float32Array, tolerance: number): void => {
  assert.is(got.length, want.length);
  const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - want[i]!)), 0);
  assert.ok(worst <= tolerance, `off by ${worst}`);
};

const OPTIONS = ['--iterations', ITERATIONS, '--step-size', 0.05, '--hidden', 32, '--batch', 64, '--seed', 3];

test('fit and apply give what the library gives, energies included', async () => {
  const { out } = await works(
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    at('a.safetensors'),
    ...OPTIONS,
  );
  assert.match(out, /aligner of latents \[n, 8\]: .*a\.safetensors/);
  const { err } = await works(
    ...['apply', '--aligner', at('a.safetensors'), '--in', cur],
    ...['--out', at('aligned.npy'), '--energies', at('e.npy')],
  );
  assert.match(err, /align: 600\/600 rows \(100 %\) .*rows\/s/);
  await onEngine(async (p, c) => {
    const options = { iterations: ITERATIONS, stepSize: 0.05, hidden: 32, batch: 64, seed: 3 };
    using aligner = await EnergyAligner.fit(p.engine, { previous: p, current: c }, options);
    using aligned = aligner.align(c);
    near(await readAll(at('aligned.npy')), await aligned.readFloats(), 1e-5);
    using before = aligner.energy(c);
    using after = aligner.energy(aligned);
    const [x, y] = [await before.readFloats(), await after.readFloats()];
    near(
      await readAll(at('e.npy')),
      Float32Array.from({ length: 2 * n }, (_, i) => (i % 2 ? y : x)[i >> 1]!),
      1e-4,
    );
  });
});

test('the same seed gives the same file', async () => {
  await works('fit', '--prev', prev, '--current', cur, '--out', at('b.safetensors'), ...OPTIONS);
  assert.equal(readFileSync(at('b.safetensors')), readFileSync(at('a.safetensors')));
});

test('other formats and several batches give the same rows', async () => {
  // Two batches of 2^21 numbers and one row.
  const rows = 2 * 2 ** 18 + 1;
  const many = Float32Array.from({ length: rows * d }, (_, i) => current[i % (n * d)]!);
  const bits = encodeSafetensors({ z: { dtype: 'F64', shape: [rows, d], data: Float64Array.from(many) } });
  writeFileSync(at('many.safetensors'), bits);
  await works(
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    at('shift.safetensors'),
    '--control',
    'mean-shift',
  );
  const args = ['--aligner', at('shift.safetensors'), '--out', at('many.npy')];
  await works('apply', '--in', `${at('many.safetensors')}:z`, ...args);
  const shift = await onEngine(async (p, c) => {
    const control = await MeanShift.fit({ previous: p, current: c });
    using moved = control.align(c);
    return moved.readFloats();
  });
  near(
    await readAll(at('many.npy')),
    many.map((_, i) => shift[i % (n * d)]!),
    1e-6,
  );
});

test('the ridge map takes a linear drift back', async () => {
  await works(
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    at('ridge.safetensors'),
    '--control',
    'ridge',
  );
  await works('apply', '--aligner', at('ridge.safetensors'), '--in', cur, '--out', at('ridge.npy'));
  near(await readAll(at('ridge.npy')), previous, 0.01);
});

for (const [kind, aligner] of [
  ['energy', 'a.safetensors'],
  ['novelty', 'ridge.safetensors'],
]) {
  test(`a gate (${kind}) leaves current-task latents as they are`, async () => {
    const gate = at(`gate-${kind}.safetensors`);
    const args = ['--aligner', at(aligner!), '--kind', kind!, '--quantile', 0.9, '--out', gate];
    const { out } = await works('gate', '--current', cur, ...args);
    assert.match(out, /the 0\.9 quantile of 120 held-out latents/);
    const said = await works(
      'apply',
      '--aligner',
      at(aligner!),
      '--gate',
      gate,
      '--in',
      cur,
      '--out',
      at('gated.npy'),
      '--force',
    );
    const taken = Number(/: (\d+) of 600 latents were aligned/.exec(said.out)?.[1]);
    assert.ok(taken > 0 && taken < 0.2 * n, `${taken} were aligned`);
    const gated = await readAll(at('gated.npy'));
    let kept = 0;
    for (let i = 0; i < n; i++) {
      const row = (x: Float32Array): string => x.subarray(i * d, (i + 1) * d).join();
      if (row(gated) === row(current)) kept++;
    }
    assert.is(kept, n - taken);
  });
}

test('more pairs than asked for: some are drawn, by the seed', async () => {
  const args = [
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--iterations',
    10,
    '--batch',
    16,
    '--max-pairs',
    100,
  ];
  const { err } = await works(...args, '--out', at('some1.safetensors'));
  assert.match(err, /100 of 600 pairs are used, drawn with seed 1: as --max-pairs asks/);
  await works(...args, '--out', at('some2.safetensors'));
  await works(...args, '--seed', 2, '--out', at('some3.safetensors'));
  const [one, two, three] = [1, 2, 3].map((i) => readFileSync(at(`some${i}.safetensors`)));
  assert.equal(one, two);
  assert.not.equal(one, three);
  const few = await works(
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--iterations',
    2,
    '--batch',
    16,
    '--out',
    at('few.safetensors'),
  );
  assert.match(few.err, /32 of 600 pairs are used, drawn with seed 1: the fit draws no more/);
});

test('the report has the drift, its picture and how well energies tell the models apart', async () => {
  const { out } = await works(
    'report',
    '--prev',
    prev,
    '--current',
    cur,
    '--aligner',
    at('a.safetensors'),
    '--out',
    at('report'),
  );
  assert.match(out, /all dimensions/);
  assert.match(out, /AUROC of the energy/);
  assert.equal(readdirSync(at('report')).sort(), ['drift.json', 'energies.png', 'energies.svg']);
  const report = JSON.parse(readFileSync(at('report/drift.json'), 'utf8'));
  const meter = new DriftMeter(d);
  meter.add(previous, current, await readAll(at('aligned.npy')));
  const { overall, dimensions } = meter.report();
  assert.is(report.rows, n);
  assert.is(report.dimensions.length, d);
  for (const side of ['before', 'after'] as const) {
    for (const key of ['meanShift', 'euclidean', 'cosine'] as const) {
      assert.ok(Math.abs(report.overall[side][key] - overall[side][key]) < 1e-5, `${side} ${key}`);
      assert.ok(
        Math.abs(report.dimensions[5][side][key] - dimensions[5]![side][key]) < 1e-5,
        `5, ${side} ${key}`,
      );
    }
  }
  const energies = await readAll(at('e.npy'));
  const pick = (column: number): Float32Array => energies.filter((_, i) => i % 2 === column);
  const known = await onEngine(async (p) => {
    using aligner = await EnergyAligner.load(p.engine, at('a.safetensors'));
    using energy = aligner.energy(p);
    return energy.readFloats();
  });
  assert.ok(Math.abs(report.auroc.before - energyAuroc(known, pick(0))) < 1e-4);
  assert.ok(Math.abs(report.auroc.after - energyAuroc(known, pick(1))) < 1e-4);
  await works(
    'report',
    '--prev',
    prev,
    '--current',
    cur,
    '--aligner',
    at('ridge.safetensors'),
    '--out',
    at('report2'),
  );
  assert.equal(readdirSync(at('report2')), ['drift.json']);
});

test('where nothing can be written, no work is begun', async () => {
  // The latents are missing too: the output is looked at before they are.
  const [none, lost] = [at('none.npy'), (name: string) => at(join('no', 'such', name))];
  const cannot = /cannot write .*no\/such.*: there is no such file or folder/;
  await refused(1, cannot, 'fit', '--prev', none, '--current', none, '--out', lost('a.safetensors'));
  await refused(1, cannot, 'gate', '--aligner', none, '--current', none, '--out', lost('g.safetensors'));
  await refused(1, cannot, 'apply', '--aligner', none, '--in', none, '--out', lost('x.npy'));
  const energies = ['--energies', lost('e.npy')];
  await refused(1, cannot, 'apply', '--aligner', none, '--in', none, '--out', at('x.npy'), ...energies);
  const report = ['report', '--prev', none, '--current', none, '--aligner', none, '--out'];
  await refused(1, /part of the path is a file/, ...report, join(prev, 'folder'));
  await refused(1, /none\.npy/, ...report, lost('folder'));
  for (const flag of ['--json', '--picture']) {
    const { code, err } = await eliBench(flag, lost('bench'));
    assert.is(code, 1);
    assert.match(err, cannot);
  }
  assert.not(existsSync(at('no')));
});

test('refused, with nothing written', async () => {
  const other = saveNpy(folder, 'other.npy', new Float32Array(30), 3);
  const before = readdirSync(folder).sort();
  const a = at('a.safetensors');
  const out = at('new.npy');
  await refused(
    1,
    /other\.npy \[10, 3\] and .*cur\.npy \[600, 8\] do not pair up/,
    'fit',
    '--prev',
    other,
    '--current',
    cur,
    '--out',
    out,
  );
  await refused(
    2,
    /aligner option steps is -1/,
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    out,
    '--steps',
    -1,
  );
  await refused(
    2,
    /--max-pairs is 0/,
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    out,
    '--max-pairs',
    0,
  );
  await refused(
    2,
    /which has no --steps/,
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    out,
    '--control',
    'ridge',
    '--steps',
    3,
  );
  await refused(
    2,
    /Allowed choices are ridge, mean-shift/,
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    out,
    '--control',
    'x',
  );
  await refused(
    1,
    /a\.safetensors is already there\n.*--force/,
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    a,
  );
  await refused(2, /required option '--current/, 'fit', '--prev', prev, '--out', out);
  await refused(
    1,
    /other\.npy has latents of 3 numbers, .* aligns 8/,
    'apply',
    '--aligner',
    a,
    '--in',
    other,
    '--out',
    out,
  );
  await refused(1, /cur\.npy is already there/, 'apply', '--aligner', a, '--in', prev, '--out', cur);
  await refused(2, /must end in \.npy/, 'apply', '--aligner', a, '--in', cur, '--out', at('new.npz'));
  await refused(2, /the same file/, 'apply', '--aligner', a, '--in', cur, '--out', out, '--energies', out);
  await refused(
    1,
    /gate-energy\.safetensors .* is "eli-webgpu gate", expected "eli-webgpu aligner" or/,
    'apply',
    '--aligner',
    at('gate-energy.safetensors'),
    '--in',
    cur,
    '--out',
    out,
  );
  await refused(
    1,
    /expected "eli-webgpu gate"/,
    'apply',
    '--aligner',
    a,
    '--gate',
    a,
    '--in',
    cur,
    '--out',
    out,
  );
  await refused(
    1,
    /--energies needs energies, which this map does not have/,
    'apply',
    '--aligner',
    at('ridge.safetensors'),
    '--in',
    cur,
    '--out',
    out,
    '--energies',
    at('new-e.npy'),
  );
  await refused(
    1,
    /needs energies/,
    'gate',
    '--aligner',
    at('ridge.safetensors'),
    '--current',
    cur,
    '--out',
    out,
  );
  await refused(1, /no such file/, 'apply', '--aligner', at('no.safetensors'), '--in', cur, '--out', out);
  await refused(1, /no such file/, 'apply', '--aligner', a, '--in', cur, '--out', at('no/folder/x.npy'));
  await refused(
    2,
    /--quantile is 2/,
    'gate',
    '--aligner',
    a,
    '--current',
    cur,
    '--out',
    out,
    '--quantile',
    2,
  );
  await refused(
    1,
    /drift\.json is already there/,
    'report',
    '--prev',
    prev,
    '--current',
    cur,
    '--aligner',
    a,
    '--out',
    at('report'),
  );
  assert.equal(readdirSync(folder).sort(), before);
});

test('a NaN far inside: said by row and column, and no output', async () => {
  const rows = 2 ** 18 + 10;
  const bad = new Float32Array(rows * d);
  bad[(2 ** 18 + 4) * d + 6] = Number.NaN;
  const path = saveNpy(folder, 'bad.npy', bad, d);
  const dir = at('nan');
  mkdirSync(dir);
  await refused(
    1,
    /row 262148, column 6 .*is NaN/,
    'apply',
    '--aligner',
    at('shift.safetensors'),
    '--in',
    path,
    '--out',
    join(dir, 'x.npy'),
  );
  assert.equal(readdirSync(dir), []);
});

/** Starts `eli align …`, sends a signal when `ready` says so; resolves to exit code and stderr. */
function interrupt(
  signal: NodeJS.Signals,
  ready: (err: string) => boolean,
  ...args: (string | number)[]
): Promise<{ code: number | null; err: string }> {
  const script = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, 'align', ...args.map(String)], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let err = '';
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const timer = setInterval(() => {
    if (!ready(err)) return;
    clearInterval(timer);
    child.kill(signal);
  }, 5);
  return new Promise((resolve) => {
    child.on('close', (code) => {
      clearInterval(timer);
      resolve({ code, err });
    });
  });
}

for (const signal of process.platform === 'win32' ? [] : (['SIGINT', 'SIGTERM'] as const)) {
  test(`${signal} while aligning: exit code 130, no output, no temporary file`, async () => {
    const dir = at(signal);
    mkdirSync(dir);
    const rows = 16 * 2 ** 18;
    const input = at('long.npy');
    if (!existsSync(input)) saveNpy(folder, 'long.npy', new Float32Array(rows * d).fill(1), d);
    const args = ['--aligner', at('a.safetensors'), '--in', input, '--out', join(dir, 'x.npy')];
    // The temporary file is there, the output is not.
    const writing = (): boolean => readdirSync(dir).some((name) => name.startsWith('.tmp-'));
    const { code, err } = await interrupt(
      signal,
      writing,
      'apply',
      ...args,
      '--energies',
      join(dir, 'e.npy'),
    );
    assert.is(code, 130, err);
    assert.match(err, /stopping after the current batch/);
    assert.match(err, /eli: stopped; no file was written/);
    assert.equal(readdirSync(dir), []);
  });
}

test('SIGINT while fitting: exit code 130 and no file', async () => {
  const dir = at('fit');
  mkdirSync(dir);
  const args = [
    'fit',
    '--prev',
    prev,
    '--current',
    cur,
    '--out',
    join(dir, 'x.safetensors'),
    '--iterations',
    1e8,
  ];
  const { code, err } = await interrupt(
    process.platform === 'win32' ? 'SIGKILL' : 'SIGINT',
    (said) =>
      said.includes('read: 600/600') && said.lastIndexOf('read: 600/600') > said.indexOf('read: 600/600'),
    ...args,
  );
  if (process.platform !== 'win32') {
    assert.is(code, 130, err);
    assert.match(err, /the fit was stopped at iteration \d+/);
  }
  assert.equal(readdirSync(dir), []);
});

test.run();
