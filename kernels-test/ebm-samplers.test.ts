// Samplers of the toolbox: their stationary moments on densities where these are known, and what each promises besides.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noGrad } from '../src/autograd/tape.ts';
import type { LangevinChain } from '../src/ebm/chains.ts';
import type { ChainPoints } from '../src/ebm/diagnostics.ts';
import { type Energy, evaluate } from '../src/ebm/energy.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { hmc, leapfrog } from '../src/ebm/hmc.ts';
import { mala } from '../src/ebm/mala.ts';
import { type SampleOptions, sample } from '../src/ebm/sample.ts';
import type { ChainState, Sampler } from '../src/ebm/sampler.ts';
import { exponentialSchedule, linearSchedule } from '../src/ebm/schedule.ts';
import { gradientDescent, langevinSampler } from '../src/ebm/unadjusted.ts';
import { Initializer } from '../src/nn/init.ts';
import { add, mul, sub } from '../src/ops/binary.ts';
import { log, neg } from '../src/ops/unary.ts';
import { concat, reshape } from '../src/ops/views.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { gaussianEnergy, mixtureEnergy } from './support/energies.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { checkMoments, LIMIT } from './support/moments.ts';

const engine = await openEngine();
test.after(closeEngine);

const CENTRE = [1, -2] as const;
/** Covariance [[1, −1], [−1, 2]]: correlation −0.71. */
const PRECISION = [
  [2, 1],
  [1, 1],
] as const;
const COVARIANCE = [
  [1, -1],
  [-1, 2],
] as const;
const gaussian = gaussianEnergy(engine, CENTRE, PRECISION);
const scaled = (factor: number): number[][] => COVARIANCE.map((row) => row.map((v) => v * factor));

/** Two modes at ±1.5, of deviation 1 and equal weight: mean 0, variance 1 + 1.5². */
const MODE = 1.5;
const mixture = mixtureEnergy(
  engine,
  [
    [-MODE, 0],
    [MODE, 0],
  ],
  1,
);

async function draw(
  energy: Energy,
  start: Tensor,
  sampler: Sampler,
  options: SampleOptions,
): Promise<ChainPoints> {
  const chains = sample(energy, start, sampler, { ...options, trajectory: true });
  const [steps, n, dims] = chains.trajectory!.points.shape as [number, number, number];
  const values = await chains.trajectory!.points.readFloats();
  for (const t of [chains.latents, chains.acceptance, ...Object.values(chains.trajectory!)]) t?.dispose();
  return { values, steps, chains: n, dims };
}

const start = (n: number, d = 2): Tensor => randomNormal(engine, [n, d], { seed: 100 });

// --- moments ---------------------------------------------------------------------------------------------------

/** 512 chains; `burnIn` leaves less than a hundredth of a standard error of the start. */
const LONG = { steps: 120, burnIn: 40, random: { seed: 5 } };

const EXACT: Readonly<Record<string, Sampler>> = {
  MALA: mala({ stepSize: 0.5 }),
  'MALA, step size and temperature as schedules': mala({
    stepSize: (t) => (t % 2 === 0 ? 0.3 : 0.8),
    temperature: () => 1,
  }),
  HMC: hmc({ stepSize: 0.5, leapfrogSteps: 3 }),
  'HMC, another mass': hmc({ stepSize: 1, leapfrogSteps: (t) => 1 + (t % 3), mass: 2.5 }),
};

for (const [name, sampler] of Object.entries(EXACT)) {
  test(`${name}: a correlated Gaussian`, async () => {
    checkMoments(name, await draw(gaussian, start(512), sampler, LONG), {
      mean: CENTRE,
      covariance: COVARIANCE,
    });
  });
}

for (const name of ['MALA', 'HMC'] as const) {
  test(`${name}: a mixture`, async () => {
    const covariance = [
      [1 + MODE ** 2, 0],
      [0, 1],
    ];
    checkMoments(name, await draw(mixture, start(512), EXACT[name]!, LONG), { mean: [0, 0], covariance });
  });
}

test('MALA: a Gamma density, whose energy is not a number outside of its limits', async () => {
  // x e⁻ˣ for x > 0: mean 2, variance 2. The energy has a logarithm, and proposals below 0 do occur.
  const gamma: Energy = { energy: (x) => reshape(sub(x, log(x)), [x.shape[0]!]) };
  const x = add(mul(start(1024, 1), 0.2), 2);
  // With `run` noise and acceptance draw in another way; in one dimension a chain would use the same words for both.
  const options: SampleOptions = { ...LONG, random: { seed: 5, run: 3 }, clamp: [1e-3, 100] };
  const points = await draw(gamma, x, mala({ stepSize: 0.5 }), options);
  checkMoments('gamma', points, { mean: [2], covariance: [[2]] });
});

test('temperature scales the covariance', async () => {
  const samplers: [number, Sampler][] = [
    [2.5, mala({ stepSize: 0.5, temperature: 2.5 })],
    [0.3, hmc({ stepSize: 0.5, leapfrogSteps: 3, temperature: 0.3 })],
  ];
  for (const [temperature, sampler] of samplers) {
    const points = await draw(gaussian, start(256), sampler, LONG);
    checkMoments(`${sampler.name} at ${temperature}`, points, {
      mean: CENTRE,
      covariance: scaled(temperature),
    });
  }
});

test('HMC with a mass a dimension: variances 1 and 400', async () => {
  const wide = gaussianEnergy(
    engine,
    [0, 3],
    [
      [1, 0],
      [0, 1 / 400],
    ],
  );
  const x = mul(start(256), tensor(engine, [1, 20], [1, 2]));
  const sampler = hmc({ stepSize: 0.7, leapfrogSteps: 2, mass: tensor(engine, [1, 1 / 400]) });
  const covariance = [
    [1, 0],
    [0, 400],
  ];
  checkMoments('masses', await draw(wide, x, sampler, LONG), { mean: [0, 3], covariance });
});

test('unadjusted Langevin: the covariance with its bias, exactly, and at a temperature', async () => {
  // x ← x − εP(x − μ) + √(2εT) ξ has the covariance C = (1 − εP) C (1 − εP) + 2εT, that is T P⁻¹ (1 − εP/2)⁻¹.
  for (const [epsilon, temperature] of [
    [0.5, 1],
    [0.2, 3],
  ] as const) {
    const half = PRECISION.map((row, i) => row.map((v, j) => Number(i === j) - (epsilon / 2) * v));
    const det = half[0]![0]! * half[1]![1]! - half[0]![1]! * half[1]![0]!;
    const inverse = [
      [half[1]![1]! / det, -half[0]![1]! / det],
      [-half[1]![0]! / det, half[0]![0]! / det],
    ];
    const covariance = COVARIANCE.map((row) =>
      [0, 1].map((j) => temperature * (row[0] * inverse[0]![j]! + row[1] * inverse[1]![j]!)),
    );
    const sampler = langevinSampler({ stepSize: epsilon, temperature });
    const points = await draw(gaussian, start(512), sampler, LONG);
    checkMoments(`langevin ${epsilon}`, points, { mean: CENTRE, covariance });
  }
});

/** Variance along the modes that Langevin steps settle at, from the fixed point of their transition on a grid. */
function settledVariance(epsilon: number): number {
  const grid = Float64Array.from({ length: 241 }, (_, i) => -9 + (18 * i) / 240);
  const drift = grid.map((x) => x - epsilon * (x - MODE * Math.tanh(MODE * x)));
  let density = grid.map((x) => Math.exp(-x * x));
  for (let round = 0; round < 400; round++) {
    const next = grid.map((y) =>
      density.reduce((sum, p, i) => sum + p * Math.exp(-((y - drift[i]!) ** 2) / (4 * epsilon)), 0),
    );
    const total = next.reduce((a, b) => a + b, 0);
    density = next.map((p) => p / total);
  }
  return density.reduce((sum, p, i) => sum + p * grid[i]! ** 2, 0);
}

test('unadjusted Langevin: a mixture, with the bias that its transition has', async () => {
  const epsilon = 0.8;
  const variance = settledVariance(epsilon);
  assert.ok(variance > 1.05 * (1 + MODE ** 2), `the bias is large enough to be seen: ${variance}`);
  const points = await draw(mixture, start(1024), langevinSampler({ stepSize: epsilon }), LONG);
  const covariance = [
    [variance, 0],
    [0, 1 / (1 - epsilon / 2)],
  ];
  checkMoments('langevin', points, { mean: [0, 0], covariance });
});

test('Langevin with schedules: the variance that the recursion gives', async () => {
  const [n, steps] = [8192, 12];
  const stepSize = exponentialSchedule(0.8, 0.05);
  const temperature = linearSchedule(4, 0.5);
  const unit = gaussianEnergy(engine, [0], [[1]]);
  const sampler = langevinSampler({ stepSize, temperature });
  const { latents } = sample(unit, zeros(engine, [n, 1]), sampler, { steps, random: { seed: 8 } });
  const values = await latents.readFloats();
  const found = values.reduce((s, v) => s + v * v, 0) / n;
  let want = 0;
  for (let t = 0; t < steps; t++) {
    const epsilon = 0.8 * (0.05 / 0.8) ** (t / (steps - 1));
    want = (1 - epsilon) ** 2 * want + 2 * epsilon * (4 - (3.5 * t) / (steps - 1));
  }
  const z = (found / want - 1) / Math.sqrt(2 / n);
  assert.ok(Math.abs(z) < LIMIT, `variance ${found}, should be ${want}`);
});

test('limits: MALA and HMC sample the density cut off there, Langevin steps stop there', async () => {
  const [low, high] = [-0.5, 1];
  const unit = gaussianEnergy(engine, [0], [[1]]);
  const density = (x: number): number => Math.exp((-x * x) / 2);
  const moment = (f: (x: number) => number): number => {
    const xs = Array.from({ length: 20_000 }, (_, i) => low + ((high - low) * (i + 0.5)) / 20_000);
    return xs.reduce((s, x) => s + f(x) * density(x), 0) / xs.reduce((s, x) => s + density(x), 0);
  };
  const mean = moment((x) => x);
  const moments = { mean: [mean], covariance: [[moment((x) => (x - mean) ** 2)]] };
  // The start is far outside: it is moved into the limits.
  const x = add(start(256, 1), 5);
  for (const sampler of [mala({ stepSize: 0.3 }), hmc({ stepSize: 0.5, leapfrogSteps: 2 })]) {
    const points = await draw(unit, x, sampler, { ...LONG, clamp: [low, high] });
    checkMoments(`${sampler.name} with limits`, points, moments);
    const outside = Array.from(points.values).filter((v) => !(v >= low && v <= high));
    assert.equal(outside, [], 'no point lies outside');
  }
  const narrowing = [linearSchedule(-1, -0.1), linearSchedule(1, 0.1)] as const;
  const sampler = langevinSampler({ stepSize: 0.3 });
  const { values } = await draw(unit, x, sampler, { steps: 11, random: { seed: 1 }, clamp: narrowing });
  for (let t = 0; t <= 10; t++) {
    const row = Array.from(values).slice(t * 256, (t + 1) * 256);
    assert.ok(Math.abs(Math.max(...row) - (1 - 0.09 * t)) < 1e-6, `step ${t}: ${Math.max(...row)}`);
  }
});

// --- each sampler's own promises -------------------------------------------------------------------------------

/** Mean acceptance of MALA on a standard normal, in the stationary state, by quadrature over x and the noise. */
function malaAcceptance(epsilon: number): number {
  const n = 400;
  const nodes = Array.from({ length: n }, (_, i) => -8 + (16 * (i + 0.5)) / n);
  const weight = (z: number): number => (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * (16 / n);
  let total = 0;
  for (const x of nodes) {
    for (const noise of nodes) {
      const y = x - epsilon * x + Math.sqrt(2 * epsilon) * noise;
      const back = (x - y + epsilon * y) ** 2 / (4 * epsilon);
      const ratio = (x * x - y * y) / 2 + (noise * noise) / 2 - back;
      total += weight(x) * weight(noise) * Math.min(1, Math.exp(ratio));
    }
  }
  return total;
}

test('MALA accepts as often as theory says, at any temperature', async () => {
  const unit = gaussianEnergy(engine, [0], [[1]]);
  const n = 2048;
  for (const [epsilon, temperature] of [
    [0.5, 1],
    [1.2, 1],
    [1.2, 9],
  ] as const) {
    const x = randomNormal(engine, [n, 1], { seed: 4, stream: 9 }, 0, Math.sqrt(temperature));
    const options = { steps: 60, random: { seed: 12 } };
    const { acceptance } = sample(unit, x, mala({ stepSize: epsilon, temperature }), options);
    const shares = await acceptance!.readFloats();
    const mean = shares.reduce((a, b) => a + b, 0) / n;
    const variance = shares.reduce((s, v) => s + (v - mean) ** 2, 0) / (n - 1);
    const want = malaAcceptance(epsilon);
    const z = (mean - want) / Math.sqrt(variance / n);
    assert.ok(Math.abs(z) < LIMIT, `ε = ${epsilon}: ${mean} accepted, theory ${want}, z = ${z.toFixed(2)}`);
  }
});

test('HMC with one leapfrog step of √(2ε) is MALA with ε', async () => {
  const x = start(64);
  const options = { steps: 15, random: { seed: 3, stream: 2 } };
  const epsilon = 0.6;
  const langevinLike = hmc({ stepSize: Math.sqrt(2 * epsilon), leapfrogSteps: 1 });
  const [a, b] = [mala({ stepSize: epsilon }), langevinLike].map((s) => sample(gaussian, x, s, options));
  compare(await b!.latents.readFloats(), await a!.latents.readFloats(), { abs: 1e-4, rel: 1e-4 }, 'ends');
  const taken = await a!.acceptance!.readFloats();
  assert.equal([...(await b!.acceptance!.readFloats())], [...taken]);
  assert.ok(taken.some((v) => v < 1) && taken.some((v) => v > 0), 'both answers occurred');
});

test('leapfrog steps lead back, and conserve the Hamiltonian to second order', async () => {
  const x = start(32);
  const p = randomNormal(engine, [32, 2], { seed: 41 });
  const mass = tensor(engine, [0.7, 2]);
  const at = ({ points }: ChainState) => ({ points, ...evaluate('test', mixture, points) });
  const from = at({ points: x });
  const there = leapfrog(at, from, p, 0.15, 20, mass);
  const back = leapfrog(at, there.state, neg(there.momentum), 0.15, 20, mass);
  compare(await back.state.points.readFloats(), await x.readFloats(), { abs: 2e-5, rel: 0 }, 'points');
  compare(await neg(back.momentum).readFloats(), await p.readFloats(), { abs: 2e-5, rel: 0 }, 'momenta');
  const moved = await there.state.points.readFloats();
  assert.ok(
    (await x.readFloats()).every((v, i) => Math.abs(v - moved[i]!) > 1e-3),
    'they moved on the way',
  );

  const hamiltonian = async (energy: Tensor, momentum: Tensor): Promise<number[]> => {
    const values = await momentum.readFloats();
    return [...(await energy.readFloats())].map(
      (e, i) => e + values[2 * i]! ** 2 / 1.4 + values[2 * i + 1]! ** 2 / 4,
    );
  };
  const before = await hamiltonian(from.energy, p);
  const errors = [];
  for (const halvings of [0, 1, 2]) {
    const end = leapfrog(at, from, p, 0.2 / 2 ** halvings, 12 * 2 ** halvings, mass);
    const after = await hamiltonian(end.state.energy, end.momentum);
    errors.push(Math.sqrt(after.reduce((s, h, i) => s + (h - before[i]!) ** 2, 0) / after.length));
  }
  for (const [i, coarse] of errors.slice(0, 2).entries()) {
    const ratio = coarse / errors[i + 1]!;
    assert.ok(ratio > 3.6 && ratio < 4.4, `half the step: ${ratio} times less error (${errors})`);
  }
});

test('gradient descent is (1 − εP)ᵗ, with a schedule too', async () => {
  const x = start(9);
  const first = await x.readFloats();
  const steps = 8;
  const stepSize = linearSchedule(0.6, 0.1);
  const ends = await sample(gaussian, x, gradientDescent({ stepSize }), { steps }).latents.readFloats();
  const want = [...first];
  for (let row = 0; row < 9; row++) {
    let [u, v] = [first[2 * row]! - CENTRE[0], first[2 * row + 1]! - CENTRE[1]];
    for (let t = 0; t < steps; t++) {
      const epsilon = 0.6 - (0.5 * t) / (steps - 1);
      [u, v] = [u - epsilon * (2 * u + v), v - epsilon * (u + v)];
    }
    want[2 * row] = u + CENTRE[0];
    want[2 * row + 1] = v + CENTRE[1];
  }
  compare(ends, want, { abs: 2e-6, rel: 2e-6 }, 'ends');
});

// --- the loop around them ----------------------------------------------------------------------------------------

const modelOf = (): EnergyModel =>
  new EnergyModel(new Initializer(engine, 3), { latent: 5, hidden: 7, layers: 1, slope: 0.2 });

test("an EnergyModel's own kernels make the chain that its energy makes", async () => {
  const model = modelOf();
  const x = start(13, 5);
  const random = { seed: 7, stream: 3 };
  const limits = [-0.7, 0.9] as const;
  const cases: [Sampler, SampleOptions][] = [
    [langevinSampler({ stepSize: 0.1, noise: 0.4 }), { steps: 10, random, clamp: limits }],
    [langevinSampler({ stepSize: linearSchedule(0.2, 0.01), temperature: 2 }), { steps: 6, random }],
    [
      langevinSampler({
        stepSize: linearSchedule(0.2, 0.01),
        noise: (t) => Math.sqrt(4 * (0.2 - 0.038 * t)),
      }),
      { steps: 6, random },
    ],
    [gradientDescent({ stepSize: 0.1 }), { steps: 10 }],
  ];
  const bare: Energy = { energy: (points) => model.energy(points) };
  const results: Float32Array[] = [];
  for (const [sampler, options] of cases) {
    const fused = sample(model, x, sampler, { ...options, variant: 'fused' }).latents;
    const slow = sample(bare, x, sampler, options).latents;
    results.push(await fused.readFloats());
    compare(await slow.readFloats(), results.at(-1)!, { abs: 1e-5, rel: 1e-5 }, `${sampler.name} by ops`);
  }
  compare(results[1]!, results[2]!, { abs: 1e-6, rel: 1e-6 }, 'temperature as noise');
  const [a, b] = [model, bare].map((energy) =>
    sample(energy, x, mala({ stepSize: 0.5 }), { steps: 5, random }),
  );
  compare(await a!.latents.readFloats(), await b!.latents.readFloats(), { abs: 1e-5, rel: 1e-5 }, 'mala');
});

test('burn-in and thinning choose steps of the same chain; energies belong to their points', async () => {
  const x = start(6);
  const before = [...(await x.readFloats())];
  for (const sampler of [mala({ stepSize: 0.9 }), langevinSampler({ stepSize: 0.2 })]) {
    const options = { steps: 12, random: { seed: 6 }, trajectory: true };
    const all = sample(gaussian, x, sampler, options);
    const some = sample(gaussian, x, sampler, { ...options, burnIn: 3, thin: 4 });
    assert.equal(all.trajectory!.points.shape, [12, 6, 2]);
    assert.equal(some.trajectory!.points.shape, [2, 6, 2]);
    const points = await all.trajectory!.points.readFloats();
    assert.equal(
      [...(await some.trajectory!.points.readFloats())],
      [6, 10].flatMap((t) => [...points.subarray(12 * t, 12 * (t + 1))]),
    );
    assert.equal(
      [...(await all.latents.readFloats())],
      [...points.subarray(-12)],
      'the last point is the end',
    );
    assert.equal([...(await some.latents.readFloats())], [...points.subarray(-12)]);
    const energies = gaussian.energy(reshape(all.trajectory!.points, [72, 2]));
    compare(
      await all.trajectory!.energies.readFloats(),
      await energies.readFloats(),
      { abs: 1e-6, rel: 1e-6 },
      'energies',
    );
    if (all.acceptance === undefined) continue;
    // A chain that did not move had its proposal refused.
    const moved = (from: number): number[] =>
      Array.from({ length: 6 }, (_, chain) => {
        let count = 0;
        for (let t = from; t < 12; t++) {
          const at = (step: number): number =>
            step < 0 ? before[2 * chain]! : points[12 * step + 2 * chain]!;
          if (at(t) !== at(t - 1)) count++;
        }
        return count / (12 - from);
      });
    compare(await all.acceptance.readFloats(), moved(0), { abs: 1e-6, rel: 0 }, 'acceptance');
    compare(await some.acceptance!.readFloats(), moved(3), { abs: 1e-6, rel: 0 }, 'acceptance after burn-in');
  }
  assert.equal([...(await x.readFloats())], before, 'the start is left as it is');
});

test('a trajectory can begin with the start', async () => {
  const x = start(6);
  const first = [...(await x.readFloats())];
  const options: SampleOptions = { steps: 7, burnIn: 1, thin: 2, random: { seed: 6 }, trajectory: true };
  for (const sampler of [mala({ stepSize: 0.5 }), langevinSampler({ stepSize: 0.2 })]) {
    const { points, energies } = sample(gaussian, x, sampler, { ...options, keepStart: true }).trajectory!;
    const without = sample(gaussian, x, sampler, options).trajectory!;
    assert.equal(points.shape, [4, 6, 2]);
    assert.equal([...(await points.readFloats())], [...first, ...(await without.points.readFloats())]);
    const want = [...(await gaussian.energy(x).readFloats()), ...(await without.energies.readFloats())];
    compare(await energies.readFloats(), want, { abs: 1e-6, rel: 1e-6 }, sampler.name);
  }
  // MALA starts within the limits.
  const limits = {
    steps: 0,
    random: { seed: 6 },
    trajectory: true,
    keepStart: true,
    clamp: [-0.5, 1],
  } as const;
  const { trajectory } = sample(gaussian, x, mala({ stepSize: 0.5 }), limits);
  assert.equal(
    [...(await trajectory!.points.readFloats())],
    first.map((v) => Math.min(1, Math.max(-0.5, v))),
  );
});

test('an energy may bring kernels for whole chains', async () => {
  const x = start(3);
  const asked: [LangevinChain, string][] = [];
  const energy: Energy = {
    ...gaussian,
    chains(points, chain, variant) {
      asked.push([chain, variant]);
      const ends = add(points, 1);
      if (variant === 'plain') return undefined;
      if (!chain.trajectory) return { latents: ends };
      const energies = tensor(engine, [1, 2, 3, 4, 5, 6], [2, 3]);
      return {
        latents: ends,
        trajectory: { points: reshape(concat([points, ends], 0), [2, 3, 2]), energies },
      };
    },
  };
  const sampler = langevinSampler({ stepSize: 0.5, noise: (t) => 0.1 * t });
  const random = { seed: 1, stream: 2 };
  const options: SampleOptions = { steps: 1, random, clamp: [-1, 1], trajectory: true, keepStart: true };
  const { latents, trajectory } = sample(energy, x, sampler, { ...options, steps: 3 });
  assert.equal(asked[0], [
    {
      steps: 3,
      stepSizes: Float64Array.of(0.5, 0.5, 0.5),
      sigmas: Float64Array.of(0, 0.1, 0.2),
      clamp: [-1, 1],
      random,
      trajectory: true,
    },
    'auto',
  ]);
  assert.equal([...(await latents.readFloats())], [...(await add(x, 1).readFloats())]);
  assert.equal([...(await trajectory!.energies.readFloats())], [1, 2, 3, 4, 5, 6]);
  const without = sample(energy, x, sampler, { ...options, steps: 3, keepStart: false }).trajectory!;
  assert.equal([...(await without.energies.readFloats())], [4, 5, 6]);
  assert.equal([...(await without.points.readFloats())], [...(await latents.readFloats())]);
  const plain = sample(energy, x, sampler, { ...options, variant: 'plain' }).latents;
  const steps = sample(gaussian, x, sampler, options).latents;
  assert.equal([...(await plain.readFloats())], [...(await steps.readFloats())], 'declined: by ops');
  for (const other of [{ clamp: [-1, linearSchedule(1, 2)] }, { thin: 2 }, { random: { seed: 1, run: 1 } }])
    sample(energy, x, sampler, { ...options, steps: 3, ...(other as object) });
  sample(energy, x, mala({ stepSize: 0.5 }), { steps: 1, random });
  assert.is(asked.length, 3, 'not asked for what no kernel takes');
});

test('seed, stream and run each choose another chain, and the same choice the same bits', async () => {
  const x = start(8);
  for (const sampler of [langevinSampler({ stepSize: 0.2 }), mala({ stepSize: 0.5 })]) {
    const ends = async (random: SampleOptions['random']): Promise<string> =>
      (await sample(gaussian, x, sampler, { steps: 4, random: random! }).latents.readFloats()).join();
    const sources = [
      { seed: 1 },
      { seed: 2 },
      { seed: 1, stream: 1 },
      { seed: 1, run: 0 },
      { seed: 1, run: 1 },
    ];
    const all = await Promise.all([...sources, { seed: 1, run: 1 }].map(ends));
    assert.is(new Set(all).size, sources.length);
    assert.is(all[4], all[5]);
  }
});

test('chains can be captured: a counter on the device makes each replay another run', async () => {
  const x = engine.keep(start(16));
  const counter = engine.keep(tensor(engine, Uint32Array.of(0)));
  const options = (run: number | Tensor): SampleOptions => ({ steps: 3, random: { seed: 2, run } });
  for (const sampler of [mala({ stepSize: 0.5 }), hmc({ stepSize: 0.4, leapfrogSteps: 2 })]) {
    const program = engine.capture(() => sample(gaussian, x, sampler, options(counter)));
    for (const run of [0, 7]) {
      counter.write([run]);
      program.run();
      const alone = sample(gaussian, x, sampler, options(run));
      assert.equal(
        [...(await program.result.latents.readFloats())],
        [...(await alone.latents.readFloats())],
        `${sampler.name}, run ${run}`,
      );
    }
    program.dispose();
  }
});

test('a chain leaves nothing behind but its results', () => {
  const x = start(16);
  for (const sampler of [mala({ stepSize: 0.5 }), hmc({ stepSize: 0.4, leapfrogSteps: 3 })]) {
    const before = engine.memory.inUse;
    const chains = sample(gaussian, x, sampler, { steps: 5, random: { seed: 2 }, trajectory: true });
    for (const t of [chains.latents, chains.acceptance!, ...Object.values(chains.trajectory!)]) t.dispose();
    assert.is(engine.memory.inUse, before, sampler.name);
  }
});

test('no step: a copy of the start', async () => {
  const x = start(3);
  const before = [...(await x.readFloats())];
  const { latents } = sample(gaussian, x, mala({ stepSize: 1 }), { steps: 0, random: { seed: 1 } });
  assert.equal([...(await latents.readFloats())], before);
  latents.write(new Float32Array(6));
  assert.equal([...(await x.readFloats())], before);
});

test('misuse is refused, and said where', async () => {
  const x = start(4);
  const random = { seed: 1 };
  const refused = (sampler: Sampler, options: Partial<SampleOptions>, ...patterns: RegExp[]) =>
    fails(() => sample(gaussian, x, sampler, { steps: 3, random, ...options }), 'ARGUMENT', ...patterns);
  const fine = mala({ stepSize: 0.1 });
  await refused(fine, { steps: -1 }, /steps is -1/);
  await refused(fine, { steps: 2.5 }, /steps is 2\.5/);
  await refused(fine, { burnIn: 3 }, /burnIn is 3/, /0 to 2/);
  await refused(fine, { burnIn: 1, thin: 3 }, /thin is 3/, /1 to 2/);
  await refused(fine, { clamp: [1, linearSchedule(2, 0)] }, /clamp is \[1, 0\] at step 2/);
  await refused(fine, { clamp: [Number.NaN, 1] }, /clamp\[0\] is NaN/);
  await refused(fine, { random: { seed: -1 } }, /seed is -1/);
  await refused(fine, { random: { seed: 1, run: 0.5 } }, /run is 0\.5/);
  await refused(fine, { steps: 0, trajectory: true }, /no steps has no trajectory/);
  await refused(mala({ stepSize: 0 }), {}, /mala: stepSize is 0 at step 0/);
  await refused(mala({ stepSize: (t) => 1 - t }), {}, /stepSize is 0 at step 1/);
  await refused(mala({ stepSize: 1, temperature: -1 }), {}, /temperature is -1/);
  await refused(hmc({ stepSize: 1, leapfrogSteps: 1.5 }), {}, /leapfrogSteps is 1\.5/);
  await refused(hmc({ stepSize: 1, leapfrogSteps: 1, mass: 0 }), {}, /mass is 0/);
  await refused(langevinSampler({ stepSize: -0.1 }), {}, /stepSize is -0\.1/);
  await refused(langevinSampler({ stepSize: 0.1, noise: -1 }), {}, /noise is -1/);
  await refused(gradientDescent({ stepSize: Number.NaN }), {}, /gradientDescent: stepSize is NaN/);
  await fails(() => sample(gaussian, x, fine, { steps: 3 }), 'ARGUMENT', /mala draws random numbers/);
  await fails(
    () => langevinSampler({ stepSize: 1, noise: 1, temperature: 1 }),
    'ARGUMENT',
    /noise and temperature/,
  );
  const heavy = hmc({ stepSize: 1, leapfrogSteps: 1, mass: tensor(engine, [1, 1, 1]) });
  await fails(
    () => sample(gaussian, x, heavy, { steps: 1, random }),
    'SHAPE',
    /mass: expected shape \[2\], got \[3\]/,
  );
  await fails(() => sample(gaussian, zeros(engine, [4]), fine, { steps: 1, random }), 'SHAPE', /\[4\]/);
  const column: Energy = { energy: (points) => reshape(gaussian.energy(points), [4, 1]) };
  await fails(() => sample(column, x, fine, { steps: 1, random }), 'SHAPE', /\[4, 1\]/, /\[4\]/, /reshape/);
  await fails(
    () => noGrad(engine, () => sample(gaussian, x, fine, { steps: 1, random })),
    'NOT_DIFFERENTIABLE',
    /outside noGrad/,
  );
});

test.run();
