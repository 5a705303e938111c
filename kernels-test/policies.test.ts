// Policies by hand, and the whole report of the MNIST experiment on a few images.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ImageSet } from '../src/data/image-set.ts';
import { loadMnist } from '../src/data/mnist.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import {
  Gate,
  type GateBatch,
  type GateData,
  type GateState,
  NoveltyGate,
  SumGate,
} from '../src/eli/gates/all.ts';
import { CachedGate } from '../src/eli/policies/cached-gate.ts';
import { evaluatePolicies, type SampleMap } from '../src/eli/policies/evaluate.ts';
import { type Answers, auroc, scorePolicy, tradeoff } from '../src/eli/policies/scores.ts';
import { EliError } from '../src/errors.ts';
import { mnistConfig } from '../src/experiments/mnist/config.ts';
import { measurePolicies, POLICY_STAGES } from '../src/experiments/mnist/policies.ts';
import { runMnist } from '../src/experiments/mnist/run.ts';
import { latentsOf, twoTasks } from '../src/experiments/mnist/two-task.ts';
import { type PolicyReport, policyTable, savePolicies } from '../src/experiments/policy-report.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear } from '../src/nn/layers.ts';
import { neg } from '../src/ops/unary.ts';
import { concat, slice } from '../src/ops/views.ts';
import { silentProgress } from '../src/report/progress.ts';
import { tradeoffSpec } from '../src/report/tradeoff.ts';
import { tensor } from '../src/tensor/create.ts';
import { Scope } from '../src/tensor/scope.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const root = mkdtempSync(join(tmpdir(), 'eli-policies-'));
test.after(async () => {
  rmSync(root, { recursive: true });
  await closeEngine();
});

const answers = (classes: number[], probability: number[]): Answers => ({ classes, probability });
// Samples 0 and 1 are of the old task, 2 and 3 of the current one; all labels are 1.
const truth = { old: [1, 1, 0, 0], labels: [1, 1, 1, 1] };
const heads = {
  oldCurrent: answers([1, 0, 0, 0], [0.9, 0.6, 0.8, 0.2]),
  oldAligned: answers([1, 1, 0, 0], [0.9, 0.3, 0.9, 0.9]),
  newCurrent: answers([0, 0, 1, 1], [0.8, 0.7, 0.7, 0.9]),
  newAligned: answers([0, 0, 1, 0], [0.2, 0.4, 0.1, 0.1]),
};

test('policies are scored as counted by hand', () => {
  // Never: heads known 1/2 and 2/2; the surer head is right about samples 0 and 3 only.
  assert.equal(scorePolicy(heads, truth, 'never'), {
    task1: 50,
    task2: 100,
    mixed: 75,
    noLabel: 50,
    noLabelOld: 50,
    noLabelNew: 50,
  });
  // Always: sample 1 has the surer new head, samples 2 and 3 the surer old one.
  assert.equal(scorePolicy(heads, truth, 'always'), {
    task1: 100,
    task2: 50,
    mixed: 75,
    noLabel: 25,
    noLabelOld: 50,
    noLabelNew: 0,
  });
  assert.equal(scorePolicy(heads, truth, [1, 1, 0, 0]), {
    task1: 100,
    task2: 100,
    mixed: 100,
    noLabel: 100,
    noLabelOld: 100,
    noLabelNew: 100,
    gate: 100,
  });
  // A gate that errs on samples 1 and 3: 1 stays unaligned, 3 is aligned; with known heads both fail here.
  assert.equal(scorePolicy(heads, truth, [1, 0, 0, 1]), {
    task1: 50,
    task2: 50,
    mixed: 50,
    noLabel: 50,
    noLabelOld: 50,
    noLabelNew: 50,
    gate: 50,
  });
  assert.throws(
    () => scorePolicy(heads, truth, [1]),
    (error: unknown) => error instanceof EliError && error.code === 'SHAPE',
  );
});

test('AUROC counts pairs, ties as halves; the trade-off goes from all old to none', () => {
  const scores = [3, 1, 1, 0, 2, 2];
  const old = [1, 1, 0, 0, 1, 0];
  let pairs = 0;
  for (const [i, a] of scores.entries()) {
    for (const [j, b] of scores.entries()) {
      if (old[i] === 1 && old[j] === 0) pairs += a > b ? 1 : a === b ? 0.5 : 0;
    }
  }
  assert.is(auroc(scores, old), pairs / 9);
  assert.ok(Number.isNaN(auroc([1, 2], [1, 1])));
  assert.equal(tradeoff(heads, truth, [0.9, 0.1, 0.2, 0.05], 5), [
    { old: 100, new: 0 },
    { old: 100, new: 50 },
    { old: 50, new: 50 },
    { old: 50, new: 100 },
    { old: 0, new: 100 },
  ]);
});

const whole = await loadMnist();
const first = (set: ImageSet, count: number): ImageSet => ({
  ...set,
  count,
  images: set.images.slice(0, count * set.height * set.width),
  labels: set.labels.slice(0, count),
});
const mnist = { ...whole, train: first(whole.train, 2000), test: first(whole.test, 500) };

test('the short report of a run: table, report.json and picture; the same figures twice', async () => {
  const config = mnistConfig({ epochs: 3, iterations: 200, curveEvery: 200 });
  const reports: PolicyReport[] = [];
  for (const name of ['once', 'twice']) {
    const folder = join(root, name);
    mkdirSync(folder);
    const quiet = { folder, progress: silentProgress, resume: false, pictures: false };
    const { policies, ...metrics } = await runMnist(engine, config, mnist, { ...quiet, report: 'short' });
    reports.push(policies!);
    assert.ok(!('policies' in JSON.parse(readFileSync(join(folder, 'metrics.json'), 'utf8'))));
    const row = (map: string, policy: string) =>
      policies!.rows.find((r) => r.map === map && r.policy === policy)!;
    const close = (a: number, b: number): boolean => Math.abs(a - b) < 3;
    // The head saved after task 1 is the old head; the last batch weighs more in the experiment's own figures.
    assert.ok(close(row('none', 'never').task1, metrics.unalignedSavedHead));
    assert.ok(close(row('none', 'never').task2, metrics.task2));
    assert.ok(close(row('ELI', 'always').task1, metrics.alignedSavedHead));
    assert.ok(row('ridge', 'always').task1 > 85, 'the ridge map brings task 1 back');
    const gate = row('ridge', 'saved statistics of inputs');
    assert.ok(gate.saved && gate.chosen && gate.auroc! > 0.9 && gate.gate! > 80, JSON.stringify(gate));
    assert.ok(row('ridge', 'oracle').noLabel > gate.noLabel && gate.noLabel > row('none', 'never').noLabel);
  }
  assert.equal(reports[0], reports[1]);
  const table = await policyTable(reports, 'short', 'markdown');
  for (const part of ['never', 'always', 'heads (ridge) + novelty \\*', 'oracle', 'ridge']) {
    assert.match(table, new RegExp(part.replace(/[()+]/g, '\\$&')));
  }
  assert.ok(table.split('\n').length <= 10, 'it is short');
  const settings = { kind: 'short', gateQuantile: 0.9, statisticsQuantile: 0.97 } as const;
  await savePolicies(root, reports, settings, true);
  assert.ok(existsSync(join(root, 'tradeoff.png')));
  const { summary, seeds } = JSON.parse(readFileSync(join(root, 'report.json'), 'utf8'));
  assert.is(seeds.length, 2);
  assert.is(summary[0].policy, 'never');
  assert.is(summary[0].noLabel.n, 2);
  assert.is(summary[0].noLabel.std, 0);
});

test('a resumed run takes the report it wrote, unless the settings are others', async () => {
  const config = mnistConfig({ epochs: 3, iterations: 200, curveEvery: 200 });
  const folder = join(root, 'once');
  const path = join(folder, 'report.json');
  const written = JSON.parse(readFileSync(path, 'utf8'));
  const resume = async (quantile: number): Promise<PolicyReport> => {
    const run = { folder, progress: silentProgress, resume: true, pictures: false, report: 'short' } as const;
    return (await runMnist(engine, { ...config, gateQuantile: quantile }, mnist, run)).policies!;
  };
  const taken = JSON.stringify({ ...written, seeds: [{ ...written.seeds[0], seed: 77 }] });
  writeFileSync(path, taken);
  assert.equal((await resume(0.9)).seed, 77);
  assert.is(readFileSync(path, 'utf8'), taken);
  assert.equal((await resume(0.8)).seed, 1);
  writeFileSync(path, taken.slice(0, 100));
  // Stopped while it measures, it says so and leaves no report; the next one measures from the start.
  const stop = new AbortController();
  const bar = { update: () => stop.abort(), done: () => {} };
  const stopped = { folder, progress: () => bar, resume: true, pictures: false, report: 'short' } as const;
  const error = await runMnist(engine, config, mnist, { ...stopped, signal: stop.signal }).then(
    () => undefined,
    (e: unknown) => e as EliError,
  );
  assert.is(error?.code, 'ABORTED');
  assert.is(readFileSync(path, 'utf8'), taken.slice(0, 100));
  assert.equal(JSON.parse(JSON.stringify(await resume(0.9))), written.seeds[0]);
});

test('the full report measures every gate with every map', async () => {
  const scope = new Scope(engine);
  const sets = twoTasks(engine, mnist, scope);
  const { train2 } = sets;
  const init = new Initializer(engine, 3);
  const [previous, current] = [new Linear(init, 784, 64), new Linear(init, 784, 64)] as const;
  const [oldHead, newHead] = [new Linear(init, 64, 5), new Linear(init, 64, 5)] as const;
  const pairs = { previous: latentsOf(previous, train2), current: latentsOf(current, train2) };
  const aligner = await EnergyAligner.fit(engine, pairs, { iterations: 20 });
  let stages = 0;
  const report = await measurePolicies({
    kind: 'full',
    seed: 3,
    gateQuantile: 0.9,
    statisticsQuantile: 0.97,
    sets,
    previous,
    oldHead,
    current,
    newHead,
    aligner,
    transforms: { steps: 20, hidden: [16] },
    onStage: () => stages++,
  });
  assert.is(stages, POLICY_STAGES.full);
  const policies = (map: string): string[] =>
    report.rows.filter((row) => row.map === map).map((row) => row.policy);
  assert.equal(policies('none'), ['never']);
  assert.equal(policies('ELI'), [
    'always',
    'energy',
    'confidence',
    'novelty of current latents',
    'novelty',
    'transforms',
    'heads',
    'heads (ridge)',
    'heads (ridge) + novelty',
    'heads (ridge) + novelty + transforms (z)',
    'heads (ridge) + novelty + transforms',
    'saved statistics of latents',
    'saved statistics of inputs',
    'oracle',
  ]);
  for (const map of ['ridge', 'mean shift', 'old model']) assert.ok(policies(map).length >= 13, map);
  for (const row of report.rows) {
    assert.is(row.auroc === undefined, ['never', 'always', 'oracle'].includes(row.policy), row.policy);
    for (const key of ['task1', 'task2', 'mixed', 'noLabel'] as const) {
      assert.ok(row[key] >= 0 && row[key] <= 100, `${row.map} ${row.policy} ${key}: ${row[key]}`);
    }
  }
  // 5 means and covariances on 50 components, and the components with their mean.
  assert.is(report.savedBytes['saved statistics of inputs'], 4 * (5 + 5 * 50 + 5 * 50 * 50 + 784 + 784 * 50));
  assert.is((await policyTable([report], 'full', 'markdown')).split('\n').length, report.rows.length + 2);
  aligner.dispose();
  for (const layer of [previous, current, oldHead, newHead]) layer.dispose();
  for (const set of [scope, ...Object.values(pairs)]) set.dispose();
});

test('an evaluation knows no data set: 7 and 3 classes, each gate fitted once, all tensors freed', async () => {
  // One-hot latents of 10 dimensions: current-task samples lie on the last 3, old ones on the first 7 but shifted by 1.
  const oneHot = (hot: readonly number[]): Tensor => {
    const data = new Float32Array(hot.length * 10);
    hot.forEach((at, i) => {
      data[i * 10 + at] = 1;
    });
    return tensor(engine, data, [hot.length, 10]);
  };
  const columns = (from: number, to: number) => (latents: Tensor) => neg(neg(slice(latents, 1, from, to)));
  const shift: SampleMap['align'] = (z) => concat([slice(z, 1, 1, 10), slice(z, 1, 0, 1)], 1);
  const old = [0, 1, 2, 3, 4, 5, 6];
  const samples = {
    fit: { current: oneHot([7, 8, 9]), labels: Uint32Array.of(0, 1, 2) },
    heldOut: { current: oneHot([7, 8, 9, 7]) },
    test: { current: oneHot([...old.map((c) => c + 1), 7, 8, 9]), inputs: oneHot(Array(10).fill(0)) },
  };
  const fits: string[] = [];
  // Scores 1 for what the current head knows nothing of.
  class Unknown extends Gate {
    readonly name = 'heads unknown';
    override async fit(data: GateData): Promise<void> {
      fits.push(`${data.labels!.length} labels`);
    }
    override score({ newLogits }: GateBatch): Promise<Float32Array> {
      return newLogits!.readFloats().then((values) => {
        const rows = Array.from({ length: values.length / 3 }, (_, i) => values.subarray(3 * i, 3 * i + 3));
        return Float32Array.from(rows, (row) => 1 - Math.max(...row));
      });
    }
    override state(): GateState {
      throw new Error('not saved here');
    }
  }
  const gate = new Unknown();
  const before = engine.memory.inUse;
  const { rows, curves, savedBytes } = await evaluatePolicies({
    ...samples,
    maps: { shift: { align: shift }, same: { align: (z) => neg(neg(z)) } },
    reference: 'shift',
    heads: { old: columns(0, 7), new: columns(7, 10) },
    gates: [
      { gate, drawn: true },
      { gate, byReference: true },
      { gate: new SumGate([gate]), chosen: true },
    ],
    truth: { old: [...old.map(() => 1), 0, 0, 0], labels: [...old, 0, 1, 2] },
    gateQuantile: 1,
    statisticsQuantile: 1,
  });
  assert.is(engine.memory.inUse, before);
  assert.equal(fits, ['3 labels']);
  assert.equal(savedBytes, {});
  assert.equal(
    rows.map(({ map, policy }) => `${map}: ${policy}`),
    [
      'none: never',
      ...['always', 'heads unknown', 'heads unknown', 'oracle'].map((policy) => `shift: ${policy}`),
      ...['always', 'heads unknown', 'heads (shift) unknown', 'heads unknown', 'oracle'].map(
        (policy) => `same: ${policy}`,
      ),
    ],
  );
  assert.is(curves.length, 4);
  // The gate misses the old sample that lies on dimension 7; aligned, the other six are right, all with the oracle.
  const gated = rows.find(({ map, policy }) => map === 'shift' && policy === 'heads unknown')!;
  assert.equal([gated.noLabelOld, gated.noLabelNew, gated.gate], [(100 * 6) / 7, 100, 90]);
  assert.is(rows.find(({ map, policy }) => map === 'shift' && policy === 'oracle')!.noLabel, 100);
  assert.is(rows.find(({ map, policy }) => map === 'same' && policy === 'oracle')!.noLabelOld, 0);
  for (const { current } of Object.values(samples)) current.dispose();
  samples.test.inputs.dispose();
});

test('a cached gate scores the same samples once, and anew after a fit', async () => {
  let scored = 0;
  class Counting extends NoveltyGate {
    override score(batch: GateBatch): Promise<Float32Array> {
      scored++;
      return super.score(batch);
    }
  }
  const gate = new CachedGate(new Counting());
  const [a, b] = [tensor(engine, [0, 1, 2, 4], [4, 1]), tensor(engine, [1, 9], [2, 1])];
  await gate.fit({ inputs: a });
  await gate.calibrate({ inputs: a }, 0.5);
  assert.equal(await gate.score({ inputs: a }), await gate.score({ inputs: a, aligned: b }));
  assert.is(scored, 1);
  const scores = await gate.score({ inputs: b });
  assert.ok(scored === 2 && scores[1]! > scores[0]!);
  await gate.fit({ inputs: b });
  await gate.score({ inputs: a });
  assert.is(scored, 3);
  assert.is(gate.state().kind, 'novelty');
  let code = '';
  await gate.score({ current: a }).catch((error: EliError) => {
    code = error.code;
  });
  assert.is(code, 'ARGUMENT');
  for (const t of [a, b]) t.dispose();
});

test('wrong quantiles and an empty picture are refused', () => {
  const code = (expected: string) => (error: unknown) => error instanceof EliError && error.code === expected;
  assert.throws(() => mnistConfig({ gateQuantile: 1.5 }), code('CONFIG'));
  assert.throws(() => mnistConfig({ statisticsQuantile: Number.NaN }), code('CONFIG'));
  assert.throws(() => tradeoffSpec([]), code('ARGUMENT'));
  assert.throws(() => tradeoffSpec([{ title: '', curves: [], marks: [] }]), code('ARGUMENT'));
});

test.run();
