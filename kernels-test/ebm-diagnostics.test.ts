// Schedules, and what the diagnostics say of chains whose correlations are known.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type ChainPoints, diagnose, mixing } from '../src/ebm/diagnostics.ts';
import { mala } from '../src/ebm/mala.ts';
import { sample } from '../src/ebm/sample.ts';
import {
  cosineSchedule,
  exponentialSchedule,
  linearSchedule,
  type Schedule,
  tabulate,
} from '../src/ebm/schedule.ts';
import { gradientDescent } from '../src/ebm/unadjusted.ts';
import { FINITE, POSITIVE } from '../src/errors.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { gaussianEnergy } from './support/energies.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { gaussians } from './support/report.ts';

const engine = await openEngine();
test.after(closeEngine);

const scheduleAt = (schedule: Schedule, t: number, steps: number): number =>
  tabulate('a', schedule, steps, FINITE)[t]!;

test('schedules: both ends, the middle, and one step', () => {
  const cases = [
    [linearSchedule(4, 1), 4, 2.5, 1],
    [cosineSchedule(4, 1), 4, 2.5, 1],
    [exponentialSchedule(4, 1), 4, 2, 1],
    [exponentialSchedule(-4, -1), -4, -2, -1],
  ] as const;
  for (const [schedule, first, middle, last] of cases) {
    assert.is(scheduleAt(schedule, 0, 9), first);
    assert.ok(Math.abs(scheduleAt(schedule, 4, 9) - middle) < 1e-12);
    assert.is(scheduleAt(schedule, 8, 9), last);
    assert.is(scheduleAt(schedule, 0, 1), first);
  }
  // A quarter of the way: the cosine has hardly left, (1 − cos 45°) / 2 = 0.146.
  assert.ok(Math.abs(scheduleAt(cosineSchedule(0, 1), 2, 9) - 0.1464466) < 1e-7);
  const table = tabulate('a', exponentialSchedule(1, 1e-3), 4, POSITIVE);
  compare(table, [1, 0.1, 0.01, 0.001], { abs: 0, rel: 1e-12 }, 'equal ratios');
});

test('schedules that cannot be are refused', async () => {
  await fails(() => exponentialSchedule(0, 1), 'ARGUMENT', /from 0 to 1/);
  await fails(() => exponentialSchedule(1, -1), 'ARGUMENT', /same sign/);
  await fails(() => linearSchedule(1, Number.POSITIVE_INFINITY), 'ARGUMENT', /Infinity/);
  await fails(() => linearSchedule(Number.NaN, 1), 'ARGUMENT', /NaN/);
  await fails(() => tabulate('size', linearSchedule(1, 0), 3, POSITIVE), 'ARGUMENT', /size is 0 at step 2/);
});

/** Chains x ← φ x + √(1 − φ²) ξ, from their stationary density: variance 1, autocorrelation φ^lag. */
function autoregressive(phi: number, steps: number, chains: number, seed: number): ChainPoints {
  const noise = gaussians(seed, steps * chains, 0, 1);
  const values = new Float64Array(steps * chains);
  for (let t = 0; t < steps; t++) {
    for (let chain = 0; chain < chains; chain++) {
      const at = t * chains + chain;
      values[at] = t === 0 ? noise[at]! : phi * values[at - chains]! + Math.sqrt(1 - phi ** 2) * noise[at]!;
    }
  }
  return { values, steps, chains, dims: 1 };
}

test('effective sample size of autoregressive chains is N (1 − φ) / (1 + φ)', () => {
  for (const [phi, tolerance] of [
    [0, 0.05],
    [0.5, 0.08],
    [0.9, 0.12],
    [-0.5, 0.08],
  ] as const) {
    const points = autoregressive(phi, 2000, 16, 7);
    const { effectiveSampleSize, rHat, variance, mean, standardError } = mixing(points);
    const ratio = effectiveSampleSize / (32_000 * ((1 - phi) / (1 + phi)));
    assert.ok(Math.abs(ratio - 1) < tolerance, `φ = ${phi}: ${ratio} of the true size`);
    assert.ok(rHat < 1.02 && rHat > 0.99, `R̂ = ${rHat}`);
    assert.ok(Math.abs(variance - 1) < 0.15 && Math.abs(mean) < 4.5 * standardError);
  }
});

test('the standard error is the deviation that means really have', () => {
  const means = [];
  let claimed = 0;
  for (let seed = 1; seed <= 100; seed++) {
    const { mean, standardError } = mixing(autoregressive(0.8, 300, 4, seed));
    means.push(mean);
    claimed += standardError / 100;
  }
  const real = Math.sqrt(means.reduce((s, m) => s + m * m, 0) / means.length);
  // The deviation of 100 means is known to 7 %.
  assert.ok(Math.abs(claimed / real - 1) < 0.25, `claimed ${claimed}, real ${real}`);
});

test('R̂ sees chains that differ, and chains that drift; each dimension is its own', () => {
  const [steps, chains] = [400, 8];
  const noise = autoregressive(0.3, steps, chains, 3).values;
  const values = Float64Array.from({ length: steps * chains * 3 }, (_, i) => {
    const [row, dim] = [Math.floor(i / 3), i % 3];
    const [t, chain] = [Math.floor(row / chains), row % chains];
    return noise[row]! + (dim === 1 ? 2 * (chain % 2) : 0) + (dim === 2 ? (4 * t) / steps : 0);
  });
  const [same, apart, drift] = [0, 1, 2].map((dim) => mixing({ values, steps, chains, dims: 3 }, dim));
  assert.ok(same!.rHat < 1.02, `${same!.rHat}`);
  // Between chains the variance is 16/15 around two means that are 2 apart: √(1 + 1.07) in the limit.
  assert.ok(Math.abs(apart!.rHat - Math.sqrt(1 + 16 / 15)) < 0.1, `${apart!.rHat}`);
  assert.ok(drift!.rHat > 1.2, `${drift!.rHat}`);
  assert.ok(apart!.effectiveSampleSize < 40 && drift!.effectiveSampleSize < 40);
  assert.ok(same!.effectiveSampleSize > 1000);
});

test('chains that never move', () => {
  const one = mixing({ values: new Float64Array(40).fill(2), steps: 10, chains: 4, dims: 1 });
  assert.is(one.mean, 2);
  assert.ok(Number.isNaN(one.rHat) && Number.isNaN(one.effectiveSampleSize));
  const values = Float64Array.from({ length: 40 }, (_, i) => i % 4);
  const four = mixing({ values, steps: 10, chains: 4, dims: 1 });
  assert.is(four.rHat, Number.POSITIVE_INFINITY);
  // Every one of the eight halves counts at most as one draw or two.
  assert.ok(four.effectiveSampleSize < 16, `${four.effectiveSampleSize}`);
});

test('diagnose: acceptance, energies and moments along the chain as they are', async () => {
  const unit = gaussianEnergy(
    engine,
    [0, 0],
    [
      [1, 0],
      [0, 1],
    ],
  );
  const start = randomNormal(engine, [5, 2], { seed: 3 }, 4, 0.1);
  const descent = sample(unit, start, gradientDescent({ stepSize: 0.5 }), { steps: 4, trajectory: true });
  const { along, dims, acceptance } = await diagnose(descent);
  assert.is(acceptance, undefined);
  assert.is(dims.length, 2);
  const first = await start.readFloats();
  along.forEach((row, t) => {
    const shrink = 0.5 ** (t + 1);
    const column = (dim: number): number[] =>
      Array.from({ length: 5 }, (_, i) => shrink * first[2 * i + dim]!);
    const mean = [0, 1].map((dim) => column(dim).reduce((a, b) => a + b, 0) / 5);
    compare(row.mean, mean, { abs: 1e-6, rel: 1e-6 }, 'mean');
    const variance = [0, 1].map((dim) => column(dim).reduce((s, v) => s + (v - mean[dim]!) ** 2, 0) / 4);
    compare(row.variance, variance, { abs: 1e-6, rel: 1e-4 }, 'variance');
    const energy = first.reduce((s, v) => s + (shrink * v) ** 2 / 2, 0) / 5;
    compare([row.energy], [energy], { abs: 1e-6, rel: 1e-5 }, 'energy');
  });
  assert.is(along.length, 4);

  const options = { steps: 20, random: { seed: 1 }, trajectory: true };
  const chains = sample(unit, start, mala({ stepSize: 1 }), options);
  const shares = [...(await chains.acceptance!.readFloats())];
  const found = (await diagnose(chains)).acceptance!;
  assert.ok(Math.abs(found.mean - shares.reduce((a, b) => a + b, 0) / 5) < 1e-6);
  assert.is(found.least, Math.min(...shares));
});

test('diagnostics without enough to go by are refused', async () => {
  const unit = gaussianEnergy(engine, [0], [[1]]);
  const start = randomNormal(engine, [5, 1], { seed: 3 });
  const sampler = gradientDescent({ stepSize: 0.5 });
  await fails(() => diagnose(sample(unit, start, sampler, { steps: 4 })), 'ARGUMENT', /trajectory: true/);
  const short = sample(unit, start, sampler, { steps: 3, trajectory: true });
  await fails(() => diagnose(short), 'ARGUMENT', /3 steps .*four steps are the least/s);
  const points = autoregressive(0, 10, 2, 1);
  await fails(() => mixing({ ...points, steps: 9 }), 'ARGUMENT', /20 values for 9 steps of 2 chains/);
  await fails(() => mixing(points, 1), 'ARGUMENT', /dimension 1/);
});

test.run();
