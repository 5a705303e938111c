// Gates against their formulas, on data whose answer is known, and through a file.
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ConfidenceGate,
  EnergyGate,
  GATES,
  Gate,
  type GateBatch,
  HeadsGate,
  NoveltyGate,
  StatisticsGate,
  SumGate,
  TaskStatistics,
  TransformGate,
} from '../src/eli/gates/all.ts';
import { pcaBasis, project } from '../src/eli/gates/basis.ts';
import { loadGate, saveGate } from '../src/eli/gates/file.ts';
import { ClassGaussians, classMoments } from '../src/eli/gates/gaussians.ts';
import { auroc } from '../src/eli/policies/scores.ts';
import type { EliError, ErrorCode } from '../src/errors.ts';
import { writeSafetensors } from '../src/files/safetensors.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { exportedClasses } from './support/classes.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);
const path = join(temporaryFolder(), 'gate.safetensors');

let state = 7;
function uniform(): number {
  state = (state * 1103515245 + 12345) % 2 ** 31;
  return state / 2 ** 31;
}
function normal(): number {
  return Math.sqrt(-2 * Math.log(uniform() + 1e-12)) * Math.cos(2 * Math.PI * uniform());
}

/** n rows of d values around one of several centres in turn, each dimension with a spread of its own. */
function cloud(
  n: number,
  d: number,
  centres: readonly number[],
): { x: Tensor; labels: Uint8Array; values: Float32Array } {
  const labels = Uint8Array.from({ length: n }, (_, i) => i % centres.length);
  const values = Float32Array.from(
    { length: n * d },
    (_, i) =>
      centres[labels[Math.floor(i / d)]!]! * ((i % d) % 2 === 0 ? 1 : -1) + normal() * (1 + (i % d) / d),
  );
  return { x: engine.keep(tensor(engine, values, [n, d])), labels, values };
}

async function refused(code: ErrorCode, part: RegExp, run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    assert.is((error as EliError).code, code, String(error));
    assert.match((error as EliError).message, part);
    return;
  }
  assert.unreachable('no error');
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  assert.is(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    assert.ok(
      Math.abs(actual[i]! - expected[i]!) <= tolerance,
      `${i}: ${actual[i]}, expected ${expected[i]}`,
    );
  }
}

test('log-density of two Gaussians in two dimensions, against the formula in float64', async () => {
  const { x, labels, values } = cloud(400, 2, [0, 3]);
  const moments = await classMoments(x, labels, 'class');
  assert.equal([...moments.counts], [200, 200]);
  const density = new ClassGaussians(moments, 0).logDensity(x);
  const found = await density.readFloats();
  const parts = [0, 1].map((c) => {
    const own = [...values.keys()]
      .filter((i) => i % 2 === 0 && labels[i / 2] === c)
      .map((i) => [values[i]!, values[i + 1]!]);
    const mean = [0, 1].map((j) => own.reduce((sum, row) => sum + row[j]!, 0) / own.length);
    const cov = (a: number, b: number): number =>
      own.reduce((sum, row) => sum + (row[a]! - mean[a]!) * (row[b]! - mean[b]!), 0) / (own.length - 1);
    return { mean, xx: cov(0, 0), xy: cov(0, 1), yy: cov(1, 1) };
  });
  const expected = Array.from({ length: 400 }, (_, i) => {
    let sum = 0;
    for (const { mean, xx, xy, yy } of parts) {
      const det = xx * yy - xy * xy;
      const [u, v] = [values[2 * i]! - mean[0]!, values[2 * i + 1]! - mean[1]!];
      sum +=
        (0.5 * Math.exp(-(yy * u * u - 2 * xy * u * v + xx * v * v) / (2 * det))) /
        (2 * Math.PI * Math.sqrt(det));
    }
    return Math.log(sum);
  });
  near(found, expected, 2e-3);
  // One covariance for both is the mean of both, the classes being of one size.
  const shared = await classMoments(x, labels, 'shared');
  near(
    shared.covariances,
    [0, 1, 2, 3].map((i) => (moments.covariances[i]! + moments.covariances[4 + i]!) / 2),
    1e-5,
  );
  for (const t of [x, density]) t.dispose();
});

test('the PCA basis spans the directions of greatest variance', async () => {
  const [n, p] = [500, 24];
  // Three directions with much variance, spread over all dimensions; the rest is noise of 0.05.
  const axes = [0, 1, 2].map((a) =>
    Array.from({ length: p }, (_, j) => Math.sqrt(2 / p) * Math.cos((Math.PI * (a + 1) * (j + 0.5)) / p)),
  );
  const values = new Float32Array(n * p);
  for (let i = 0; i < n; i++) {
    const amounts = axes.map((_, a) => normal() * (3 - a));
    for (let j = 0; j < p; j++) {
      values[i * p + j] =
        5 + 0.05 * normal() + axes.reduce((sum, axis, a) => sum + amounts[a]! * axis[j]!, 0);
    }
  }
  const x = tensor(engine, values, [n, p]);
  const basis = (await pcaBasis(x, 3))!;
  for (const axis of axes) {
    const inside = [0, 1, 2].map((k) =>
      axis.reduce((sum, value, j) => sum + value * basis.columns[j * 3 + k]!, 0),
    );
    const length = Math.hypot(...inside);
    assert.ok(length > 0.999, `an axis keeps ${length} of its length`);
  }
  const gram = Array.from({ length: 9 }, (_, i) => {
    let sum = 0;
    for (let j = 0; j < p; j++)
      sum += basis.columns[j * 3 + Math.floor(i / 3)]! * basis.columns[j * 3 + (i % 3)]!;
    return sum;
  });
  near(gram, [1, 0, 0, 0, 1, 0, 0, 0, 1], 1e-5);
  const y = project(x, basis);
  assert.equal([...y.shape], [n, 3]);
  assert.is(await pcaBasis(x, p), undefined, 'nothing to leave out');
  for (const t of [x, y]) t.dispose();
});

test('energy, confidence and heads are their formulas', async () => {
  const energy = tensor(engine, [1, -2]);
  const newLogits = tensor(engine, [0, Math.log(3), 5, 5], [2, 2]);
  const oldLogits = tensor(engine, [0, 0, 0, Math.log(5), 0, 0], [2, 3]);
  const batch = { energy, newLogits, oldLogits };
  near(await new EnergyGate().score(batch), [-1, 2], 0);
  near(await new ConfidenceGate().score(batch), [0.25, 0.5], 1e-6);
  near(await new HeadsGate().score(batch), [Math.log(3) - Math.log(4), Math.log(7) - Math.log(2) - 5], 1e-5);
  await refused('ARGUMENT', /heads needs oldLogits/, () => new HeadsGate().score({ newLogits }));
  await refused('ARGUMENT', /has no threshold/, () => new EnergyGate().decide(batch));
  await refused('ARGUMENT', /is not fitted/, () =>
    new NoveltyGate({ of: 'current' }).score({ current: newLogits }),
  );
  for (const t of Object.values(batch)) t.dispose();
});

const near1 = cloud(900, 6, [0, 4]);
const held = cloud(500, 6, [0, 4]);
const far = cloud(500, 6, [9, 14]);
const task1 = cloud(900, 6, [9, 14]);
const batchOf = (x: Tensor): GateBatch => ({ current: x, aligned: x, inputs: x });

async function tells(gate: Gate): Promise<number> {
  const scores = [...(await gate.score(batchOf(far.x))), ...(await gate.score(batchOf(held.x)))];
  return auroc(
    scores,
    scores.map((_, i) => (i < 500 ? 1 : 0)),
  );
}

test('novelty and saved statistics tell other clusters; thresholds are quantiles of held-out data', async () => {
  const gates = [
    new NoveltyGate({ of: 'current' }),
    new NoveltyGate({ of: 'inputs', dimensions: 3, covariance: 'shared' }),
    new StatisticsGate(await TaskStatistics.collect(task1.x, task1.labels, { of: 'aligned' })),
    new StatisticsGate(await TaskStatistics.collect(task1.x, task1.labels, { of: 'inputs', dimensions: 4 })),
  ];
  for (const gate of gates) {
    await gate.fit({ ...batchOf(near1.x), labels: near1.labels });
    await gate.calibrate(batchOf(held.x), 0.9);
    const area = await tells(gate);
    assert.ok(area > 0.97, `${gate.name}: AUROC ${area}`);
    const share = (await gate.decide(batchOf(held.x))).reduce((a, b) => a + b, 0) / 500;
    assert.is(share, 0.1, `${gate.name}: ${share} of the held-out data is taken for old`);
    await gate.calibrate(batchOf(held.x), 1);
    assert.is(
      Math.max(...(await gate.decide(batchOf(held.x)))),
      0,
      `${gate.name}: the threshold itself is new`,
    );
    assert.ok((await gate.decide(batchOf(far.x))).reduce((a, b) => a + b, 0) > 450, gate.name);
  }
  // Without labels all is one class, which is wider: it works, and worse than with labels.
  const blind = new NoveltyGate({ of: 'current' });
  await blind.fit(batchOf(near1.x));
  assert.ok((await tells(blind)) > 0.9);
  await refused('ARGUMENT', /quantile 2 of 500 values/, () => blind.calibrate(batchOf(held.x), 2));
  await refused('CONFIG', /shrinkage is -1/, () => new NoveltyGate({ shrinkage: -1 }));
  await refused('SHAPE', /900 labels do not fit the 500 rows/, () =>
    blind.fit({ ...batchOf(held.x), labels: near1.labels }),
  );
  const six = new StatisticsGate(await TaskStatistics.collect(task1.x, task1.labels, { of: 'aligned' }));
  const wide = cloud(20, 7, [0]);
  await refused('SHAPE', /rows of 7 values, the statistics are of 6/, () => six.fit(batchOf(wide.x)));
  wide.x.dispose();
});

test('a sum of gates adds z-scores, or the logarithms of p-values', async () => {
  const parts = (): Gate[] => [new EnergyGate(), new ConfidenceGate()];
  const make = (energies: number[], logits: number[]): GateBatch => ({
    energy: tensor(engine, energies),
    newLogits: tensor(engine, logits, [logits.length / 2, 2]),
  });
  // Energy scores 0 … 3 (mean 1.5, variance 1.25); confidence scores all ½.
  const calm = make([0, -1, -2, -3], [1, 1, 1, 1, 1, 1, 1, 1]);
  const test = make([-5, -1.5], [2, 2, 0, Math.log(3)]);
  const z = new SumGate(parts(), 'z');
  await z.calibrate(calm, 0.5);
  near(await z.score(test), [3.5 / Math.sqrt(1.25), -0.25], 1e-5);
  const fisher = new SumGate(parts(), 'fisher');
  await fisher.calibrate(calm, 0.5);
  const p = (higher: number): number => -Math.log((higher + 0.5) / 4.5);
  near(await fisher.score(test), [p(0) + p(4), p(2) + p(4)], 1e-5);
  assert.is(fisher.parts[0]!.threshold, 1.5);
  await refused('ARGUMENT', /not calibrated/, () => new SumGate(parts()).score(test));
  for (const t of [...Object.values(calm), ...Object.values(test)]) t.dispose();
});

/** Images of 12 × 12 with a bright corner: the class says how large; `turned` puts it into another corner. */
function corners(n: number, turned: boolean): { inputs: Tensor; labels: Uint8Array } {
  const labels = Uint8Array.from({ length: n }, (_, i) => i % 2);
  const values = new Float32Array(n * 144);
  for (let i = 0; i < n; i++) {
    const size = labels[i] === 0 ? 4 : 6;
    for (let y = 0; y < size; y++) {
      // Twice as wide as high, so that no two of the eight transforms are alike.
      for (let x = 0; x < Math.min(12, 2 * size - 2); x++) {
        const place = turned ? x * 12 + (11 - y) : y * 12 + x;
        values[i * 144 + place] = 0.5 + 0.5 * uniform();
      }
    }
  }
  return { inputs: engine.keep(tensor(engine, values, [n, 144])), labels };
}

test('the transform gate knows how its images lie, and is surprised by turned ones', async () => {
  const gate = new TransformGate({
    side: 12,
    pool: 2,
    hidden: [24],
    steps: 150,
    batch: 16,
    learningRate: 5e-3,
  });
  const train = corners(256, false);
  const same = corners(100, false);
  const turned = corners(100, true);
  await gate.fit(train);
  const [low, high] = [await gate.score(same), await gate.score(turned)];
  const mean = (values: Float32Array): number => values.reduce((a, b) => a + b, 0) / values.length;
  assert.ok(mean(low) < 0.3 && mean(high) > 2, `${mean(low)} on its own, ${mean(high)} on turned images`);
  const again = await reload(gate);
  near(await again.score(turned), high, 0);
  await refused('SHAPE', /are not images of 12 × 12/, () => gate.score({ inputs: near1.x }));
  await refused(
    'CONFIG',
    /a pool of 5 does not divide the side 12/,
    () => new TransformGate({ side: 12, pool: 5 }),
  );
  for (const { inputs } of [train, same, turned]) inputs.dispose();
});

async function reload(gate: Gate): Promise<Gate> {
  await saveGate(path, gate);
  return loadGate(path);
}

test('a gate read from a file decides as the one that was written', async () => {
  const statistics = await TaskStatistics.collect(task1.x, task1.labels, { of: 'aligned' });
  const parts = [
    new NoveltyGate({ of: 'current', dimensions: 3 }),
    new StatisticsGate(statistics),
    new EnergyGate(),
  ];
  const energy = engine.keep(tensor(engine, Float32Array.from({ length: 500 }, normal)));
  const batch = { ...batchOf(held.x), energy };
  for (const gate of [...parts, new SumGate(parts), new SumGate(parts, 'z')]) {
    await gate.fit({ ...batchOf(near1.x), labels: near1.labels });
    await gate.calibrate(batch, 0.8);
    const again = await reload(gate);
    assert.is(again.name, gate.name);
    assert.equal(await again.score(batch), await gate.score(batch), gate.name);
    assert.equal(await again.decide(batch), await gate.decide(batch), gate.name);
  }
  energy.dispose();
});

test('every class of gate is in the table, under the kind of its state', async () => {
  const classes = await exportedClasses('eli/gates', (made) => made.prototype instanceof Gate);
  assert.equal(
    [...classes.keys()].sort(),
    Object.values(GATES)
      .map(({ name }) => name)
      .sort(),
  );
  for (const [kind, made] of [
    ['energy', new EnergyGate()],
    ['confidence', new ConfidenceGate()],
    ['heads', new HeadsGate()],
  ] as const) {
    assert.is(made.state().kind, kind);
    const again = await reload(made);
    assert.instance(again, GATES[kind]);
    assert.ok(Number.isNaN(again.threshold), 'not calibrated');
  }
});

test('a file of one gate', async () => {
  const gate = new NoveltyGate({ of: 'current', dimensions: 3 });
  await gate.fit({ ...batchOf(near1.x), labels: near1.labels });
  await gate.calibrate(batchOf(held.x), 0.8);
  const again = await reload(gate);
  assert.instance(again, NoveltyGate);
  assert.is(again.threshold, gate.threshold);
  assert.equal(await again.score(batchOf(far.x)), await gate.score(batchOf(far.x)));
  const format = 'eli-webgpu gate';
  for (const [metadata, pattern] of [
    [{}, /gate\.safetensors cannot be used here: .* expected "eli-webgpu gate"/],
    [{ format }, /gate\.safetensors is not a complete eli-webgpu gate: its description is null/],
    [{ format, gate: '{' }, /JSON/],
    [
      { format, gate: '{"kind":"door","threshold":0,"settings":{}}' },
      /no kind of gate "door", known: energy/,
    ],
    [{ format, gate: '{"kind":"novelty","threshold":0,"settings":{}}' }, /counts of the .* is missing/],
  ] as const) {
    await writeSafetensors(path, {}, metadata);
    await fails(() => loadGate(path), 'FORMAT', pattern);
  }
});

test('fitting and scoring free what they take', async () => {
  const gate = new SumGate([
    new NoveltyGate({ of: 'current', dimensions: 3 }),
    new NoveltyGate({ of: 'current' }),
  ]);
  const round = async (): Promise<void> => {
    await gate.fit({ ...batchOf(near1.x), labels: near1.labels });
    await gate.calibrate(batchOf(held.x), 0.9);
    await gate.score(batchOf(far.x));
  };
  await round();
  const { inUse, bytesInUse } = engine.memory;
  await round();
  assert.is(engine.memory.inUse, inUse);
  assert.is(engine.memory.bytesInUse, bytesInUse);
});

test.run();
