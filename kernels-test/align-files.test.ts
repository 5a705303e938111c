// What `eli align` does, as an embedder calls it: files of latents in, aligned latents, gates and figures of drift out.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Gate, type GateBatch, type GateData } from '../src/eli/gates/gate.ts';
import {
  alignBatches,
  alignFile,
  choosePairs,
  EnergyAligner,
  EnergyGate,
  learnGate,
  MeanShift,
  measureDrift,
  NoveltyGate,
  openLatents,
  readRows,
} from '../src/index.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { readAll, saveNpy } from './support/latents.ts';
import { gaussians } from './support/report.ts';

const engine = await openEngine();
const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
// Wide latents, so that few rows are two batches.
const d = 512;
const n = 4100;
const drift = (i: number): number => ((i % d) % 3) - 1;
const values = gaussians(4, n * d, 0, 1);
const previous = await openLatents(saveNpy(folder, 'previous.npy', values, d));
const current = await openLatents(
  saveNpy(
    folder,
    'current.npy',
    values.map((v, i) => v + drift(i)),
    d,
  ),
);
const shift = new MeanShift(Float32Array.from({ length: d }, (_, j) => -drift(j)));
const few = choosePairs(n, 100, 5)!;
const pairs = {
  previous: await readRows(engine, previous, few),
  current: await readRows(engine, current, few),
};
const aligner = await EnergyAligner.fit(engine, pairs, {
  iterations: 3,
  batch: 32,
  hidden: 8,
  layers: 1,
  steps: 2,
});
const before = engine.memory.inUse;
test.after.each(() => {
  assert.is(engine.memory.inUse, before, 'buffers left');
});
test.after(async () => {
  aligner.dispose();
  for (const t of Object.values(pairs)) t.dispose();
  await Promise.all([previous, current].map((source) => source.close()));
  closeEngine();
});

test('chosen rows are read in their order, from every batch', async () => {
  assert.equal(few, few.slice().sort());
  assert.is(new Set(few).size, 100);
  assert.ok(few[0]! < 100 && few[99]! > 4000, `from ${few[0]} to ${few[99]}`);
  assert.equal(choosePairs(n, 100, 5), few, 'the same seed');
  assert.not.equal(choosePairs(n, 100, 6), few);
  assert.is(choosePairs(n, n, 5), undefined);
  const got = await pairs.previous.readFloats();
  few.forEach((row, i) => {
    const want = values.subarray(row * d, (row + 1) * d);
    assert.equal(got.subarray(i * d, (i + 1) * d), want, `row ${row}`);
  });
});

test('a file is aligned in batches, with its progress', async () => {
  const seen: number[] = [];
  const onProgress = (rows: number): void => void seen.push(rows);
  const result = await alignFile(engine, current, shift, at('aligned.npy'), { onProgress });
  assert.equal(result, { rows: n, aligned: n });
  assert.equal(seen, [4096, 4100]);
  const aligned = await readAll(at('aligned.npy'));
  assert.is(
    aligned.findIndex((v, i) => Math.abs(v - values[i]!) > 1e-6),
    -1,
  );
});

test('with a gate, rows of the current task stay as they are, and so do their energies', async () => {
  const gate = new EnergyGate();
  const rows: number[] = [];
  const held = await learnGate(engine, gate, current, aligner, {
    quantile: 0.75,
    onProgress: (done) => void rows.push(done),
  });
  assert.is(held, 820);
  assert.equal(rows, [4096, 4100, 8196, 8200]);
  let row = 0;
  let old = 0;
  for await (const batch of alignBatches(engine, current, aligner, { gate, energies: true })) {
    for (let i = 0; i < batch.current.length / d; i++, row++) {
      const [first, second] = [batch.energies![2 * i]!, batch.energies![2 * i + 1]!];
      const was = batch.current.subarray(i * d, (i + 1) * d);
      const moved = was.some((v, j) => v !== batch.aligned[i * d + j]);
      const isOld = -first > gate.threshold;
      if (isOld) old++;
      else assert.is(first, second, `row ${row}`);
      assert.is(moved, isOld, `row ${row}`);
    }
  }
  assert.is(row, n);
  assert.ok(old > 0.2 * n && old < 0.3 * n, `${old} of ${n} were aligned`);
  const result = await alignFile(engine, current, aligner, at('gated.npy'), {
    gate,
    energiesOut: at('e.npy'),
  });
  assert.equal(result, { rows: n, aligned: old });
  assert.is((await readAll(at('e.npy'))).length, 2 * n);
});

/** Two numbers of each row, which tell it from all others. */
const keysOf = (numbers: Float32Array): string[] =>
  Array.from({ length: numbers.length / d }, (_, i) => `${numbers[i * d]} ${numbers[i * d + 1]}`);

/** Notes the rows that it learns from, and those that it is calibrated on. */
class NotingGate extends Gate {
  readonly name = 'noting';
  fitted: string[] = [];
  held: string[] = [];

  async fit({ current: latents }: GateData): Promise<void> {
    this.fitted = keysOf(await latents!.readFloats());
  }

  async score({ current: latents }: GateBatch): Promise<Float32Array> {
    this.held = keysOf(await latents!.readFloats());
    return new Float32Array(this.held.length);
  }

  state(): never {
    throw new Error('not saved');
  }
}

test('a gate is calibrated on rows that it has not learnt from, drawn from all', async () => {
  const all = keysOf(await readAll(at('current.npy')));
  const split = async (seed: number): Promise<NotingGate> => {
    const gate = new NotingGate();
    await learnGate(engine, gate, current, shift, { quantile: 0.9, seed });
    return gate;
  };
  const { fitted, held } = await split(1);
  assert.is(held.length, 820);
  assert.equal([...fitted, ...held].sort(), [...all].sort(), 'every row once');
  assert.is(new Set([...fitted, ...held]).size, n);
  // Neither the first rows nor the last.
  const [first, last] = [held[0]!, held.at(-1)!].map((key) => all.indexOf(key));
  assert.ok(first! < 100 && last! > n - 100, `from ${first} to ${last}`);
  assert.equal((await split(1)).held, held, 'the same seed');
  assert.not.equal((await split(2)).held, held);
});

test('drift before and after, with energies where the map has them', async () => {
  const { drift, energies, auroc } = await measureDrift(engine, previous, current, shift);
  assert.is(drift.rows, n);
  assert.ok(Math.abs(drift.dimensions[2]!.before.meanShift - 1) < 1e-6);
  assert.ok(drift.overall.after.euclidean < 1e-5, `${drift.overall.after.euclidean}`);
  assert.is(energies, undefined);
  assert.is(auroc, undefined);
  const measured = await measureDrift(engine, previous, current, aligner);
  assert.is(measured.auroc!.rows, n);
  const [of] = [aligner.energy(pairs.current)];
  const want = await of.readFloats();
  of.dispose();
  few.forEach((row, i) => {
    assert.ok(Math.abs(measured.energies!.current[row]! - want[i]!) < 1e-4, `row ${row}`);
  });
});

test('refused: another size, a missing energy, a map that is given too few rows', async () => {
  const small = new MeanShift(new Float32Array(3));
  const what = /current\.npy has latents of 512 numbers, the map aligns 3/;
  const out = at('refused.npy');
  await fails(() => alignFile(engine, current, small, out), 'SHAPE', what);
  await fails(() => measureDrift(engine, previous, current, small), 'SHAPE', what);
  const gate = new NoveltyGate({ of: 'current' });
  await fails(() => learnGate(engine, gate, current, small, { quantile: 0.9 }), 'SHAPE', what);
  await fails(
    () => alignFile(engine, current, shift, out, { energiesOut: at('refused-e.npy') }),
    'ARGUMENT',
    /needs energies, which this map does not have/,
  );
  const short = await openLatents(saveNpy(folder, 'short.npy', values.slice(0, 2 * d), d));
  await fails(() => learnGate(engine, gate, short, shift, { quantile: 0.9 }), 'SHAPE', /has 2 rows, too few/);
  await fails(() => measureDrift(engine, short, current, shift), 'SHAPE', /do not pair up/);
  await short.close();
  assert.not.ok(existsSync(out) || existsSync(at('refused-e.npy')));
});

test('a signal stops each of them, and leaves no file', async () => {
  const stop = new AbortController();
  const hooks = { signal: stop.signal, onProgress: () => stop.abort() };
  const names = readdirSync(folder).sort();
  const gate = new EnergyGate();
  const options = { ...hooks, energiesOut: at('stopped-e.npy') };
  await fails(() => alignFile(engine, current, aligner, at('stopped.npy'), options), 'ABORTED');
  await fails(() => measureDrift(engine, previous, current, aligner, hooks), 'ABORTED');
  await fails(() => readRows(engine, current, undefined, hooks), 'ABORTED');
  await fails(() => learnGate(engine, gate, current, aligner, { ...hooks, quantile: 0.9 }), 'ABORTED');
  assert.equal(readdirSync(folder).sort(), names);
});

test.run();
