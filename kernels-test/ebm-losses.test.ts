// Losses that fit an energy: against references in float64, and by what they learn.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import type { Energy } from '../src/ebm/energy.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { contrastiveLoss, energyL2, PersistentChains, type PersistentOptions } from '../src/ebm/losses.ts';
import { mala } from '../src/ebm/mala.ts';
import { ReplayBuffer } from '../src/ebm/replay-buffer.ts';
import { sample } from '../src/ebm/sample.ts';
import { denoisingScoreMatching, slicedScoreMatching } from '../src/ebm/score-matching.ts';
import { gradientDescent } from '../src/ebm/unadjusted.ts';
import { Initializer } from '../src/nn/init.ts';
import { Activation, Linear, Sequential } from '../src/nn/layers.ts';
import { mul, sub } from '../src/ops/binary.ts';
import { linear, matmul } from '../src/ops/matmul.ts';
import { mean, sum } from '../src/ops/reduce.ts';
import { logSumExp } from '../src/ops/softmax.ts';
import { neg, silu, softplus } from '../src/ops/unary.ts';
import { reshape } from '../src/ops/views.ts';
import { adam } from '../src/optim/optimizer.ts';
import { full, tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal, randomUniform } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { logStep } from '../src/train/step.ts';
import { compare } from './support/compare.ts';
import { fails } from './support/data.ts';
import { gaussianEnergy } from './support/energies.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { gaussians } from './support/report.ts';

const engine = await openEngine();
test.after(closeEngine);

const parameter = (data: ArrayLike<number>, shape: readonly number[]): Tensor => {
  const t = tensor(engine, Float32Array.from(data), shape);
  t.requiresGrad = true;
  return t;
};

interface Learnable extends Energy {
  readonly parameters: readonly Tensor[];
}

// --- score matching against float64 ------------------------------------------------------------------------------

const [ROWS, DIMS, UNITS] = [7, 3, 4];
const WEIGHTS = gaussians(1, UNITS * DIMS, 0, 0.7);
const BIASES = gaussians(2, UNITS, 0, 0.5);
const AMPLITUDES = gaussians(3, UNITS, 0, 1);
const DATA = gaussians(4, ROWS * DIMS, 0, 1);

/** E(x) = Σ_k a_k softplus(w_k · x + b_k): every derivative is known in closed form. */
function smooth(): Learnable {
  const [w, b, a] = [
    parameter(WEIGHTS, [UNITS, DIMS]),
    parameter(BIASES, [UNITS]),
    parameter(AMPLITUDES, [UNITS, 1]),
  ];
  return {
    parameters: [w, b, a],
    energy: (x) => reshape(matmul(softplus(linear(x, w, b)), a), [x.shape[0]!]),
  };
}

/** ∂E/∂x and vᵀ (∂²E/∂x²) v of `smooth` at a point, in float64. */
function derivatives(theta: readonly number[], x: readonly number[], v: readonly number[]) {
  const gradient = new Array<number>(DIMS).fill(0);
  let curvature = 0;
  for (let k = 0; k < UNITS; k++) {
    const w = theta.slice(k * DIMS, (k + 1) * DIMS);
    const h = theta[UNITS * DIMS + k]! + w.reduce((s, wi, i) => s + wi * x[i]!, 0);
    const a = theta[UNITS * (DIMS + 1) + k]!;
    const p = 1 / (1 + Math.exp(-h));
    for (let i = 0; i < DIMS; i++) gradient[i]! += a * p * w[i]!;
    curvature += a * p * (1 - p) * w.reduce((s, wi, i) => s + wi * v[i]!, 0) ** 2;
  }
  return { gradient, curvature };
}

type Reference = (theta: readonly number[], x: number[], v: number[]) => number;
const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((s, ai, i) => s + ai * b[i]!, 0);
const SIGMA = 0.4;

const REFERENCES: Readonly<Record<string, Reference>> = {
  denoising: (theta, x, v) => {
    const { gradient } = derivatives(
      theta,
      x.map((xi, i) => xi + SIGMA * v[i]!),
      v,
    );
    return gradient.reduce((s, g, i) => s + (g - v[i]! / SIGMA) ** 2 / 2, 0);
  },
  sliced: (theta, x, v) => {
    const { gradient, curvature } = derivatives(theta, x, v);
    return dot(gradient, v) ** 2 / 2 - curvature;
  },
  'sliced, variance reduced': (theta, x, v) => {
    const { gradient, curvature } = derivatives(theta, x, v);
    return dot(gradient, gradient) / 2 - curvature;
  },
};

for (const [name, reference] of Object.entries(REFERENCES)) {
  test(`${name} score matching: value and gradients as in float64`, async () => {
    const random = { seed: 9, stream: 1, step: 2 };
    const energy = smooth();
    const data = tensor(engine, DATA, [ROWS, DIMS]);
    const loss =
      name === 'denoising'
        ? denoisingScoreMatching(energy, data, { sigma: SIGMA, random })
        : slicedScoreMatching(energy, data, {
            random,
            directions: 'normal',
            varianceReduced: name !== 'sliced',
          });
    assert.equal(loss.shape, []);
    const noise = await randomNormal(engine, [ROWS, DIMS], random).readFloats();
    const row = (values: Float32Array, r: number): number[] => [...values.subarray(r * DIMS, (r + 1) * DIMS)];
    const value = (theta: readonly number[]): number => {
      let total = 0;
      for (let r = 0; r < ROWS; r++) total += reference(theta, row(DATA, r), row(noise, r));
      return total / ROWS;
    };
    const theta = [...WEIGHTS, ...BIASES, ...AMPLITUDES];
    compare([await loss.item()], [value(theta)], { abs: 2e-5, rel: 2e-5 }, 'loss');
    const slopes = theta.map((v, i) => {
      const step = 1e-5;
      return (value(theta.with(i, v + step)) - value(theta.with(i, v - step))) / (2 * step);
    });
    const gradients = await Promise.all(grad(loss, energy.parameters).map((g) => g.readFloats()));
    assert.ok(Math.max(...slopes.map(Math.abs)) > 0.1, 'the gradient is not small everywhere');
    compare(
      gradients.flatMap((g) => [...g]),
      slopes,
      { abs: 1e-4, rel: 1e-4 },
      'gradients',
    );
  });
}

test('Rademacher directions are ±1, evenly; both kinds estimate the same', async () => {
  // On E = ½ xᵀ P x the curvature is vᵀ P v: P₀₀ + P₁₁ ± 2 P₀₁ with v = (1, ±1), so its values tell the directions.
  const energy = gaussianEnergy(
    engine,
    [0, 0],
    [
      [3, 1],
      [1, 2],
    ],
  );
  const n = 4000;
  const origin = zeros(engine, [n, 2]);
  const one = await slicedScoreMatching(energy, zeros(engine, [1, 2]), { random: { seed: 5 } }).item();
  assert.ok(Math.abs(one + 3) < 1e-5 || Math.abs(one + 7) < 1e-5, `−vᵀPv is ${one}`);
  for (const [directions, deviation] of [
    ['rademacher', 2],
    ['normal', Math.sqrt(2 * (9 + 4 + 2))],
  ] as const) {
    const loss = await slicedScoreMatching(energy, origin, { random: { seed: 6 }, directions }).item();
    // Mean over directions: minus the trace.
    assert.ok(Math.abs(loss + 5) < (4.5 * deviation) / Math.sqrt(n), `${directions}: ${loss}`);
  }
});

// --- what score matching learns ----------------------------------------------------------------------------------

/** E(x) = ½ ‖W (x − b)‖²: a Gaussian of mean b and precision WᵀW. */
function quadratic(): Learnable & { moments(): Promise<{ mean: number[]; precision: number[][] }> } {
  const w = parameter([1, 0, 0, 1], [2, 2]);
  const b = parameter([0, 0], [1, 2]);
  return {
    parameters: [w, b],
    energy(x) {
      const y = matmul(sub(x, b), w);
      return mul(sum(mul(y, y), 1), 0.5);
    },
    async moments() {
      const m = await w.readFloats();
      const at = (i: number, j: number): number => m[2 * i]! * m[2 * j]! + m[2 * i + 1]! * m[2 * j + 1]!;
      return {
        mean: [...(await b.readFloats())],
        precision: [0, 1].map((i) => [0, 1].map((j) => at(i, j))),
      };
    },
  };
}

/** Data of mean (1, −0.5) and correlation 0.6 about; the moments are those of the very sample. */
const CLOUD = (() => {
  const n = 1024;
  const z = gaussians(17, 2 * n, 0, 1);
  const values = Float32Array.from(z, (v, i) =>
    i % 2 === 0 ? 1 + 0.8 * v : -0.5 + 0.5 * (0.6 * z[i - 1]! + 0.8 * v),
  );
  const centre = [0, 1].map((d) => values.reduce((s, v, i) => (i % 2 === d ? s + v : s), 0) / n);
  const covariance = [0, 1].map((a) =>
    [0, 1].map((b) => {
      let total = 0;
      for (let i = 0; i < n; i++)
        total += (values[2 * i + a]! - centre[a]!) * (values[2 * i + b]! - centre[b]!);
      return total / n;
    }),
  );
  return { n, values, centre, covariance };
})();

const inverse2 = ([[a, b], [c, d]]: number[][]): number[][] => {
  const det = a! * d! - b! * c!;
  return [
    [d! / det, -b! / det],
    [-c! / det, a! / det],
  ];
};

/** Minimises a loss by Adam in one captured program; the last third at a tenth of the rate. */
async function fit(
  energy: Learnable,
  iterations: number,
  learningRate: number,
  loss: (step: Tensor) => Tensor,
): Promise<Float32Array> {
  const optimizer = adam(energy.parameters, { learningRate, clipNorm: 50 });
  const counter = zeros(engine, [1], 'u32');
  const losses = zeros(engine, [iterations]);
  const program = engine.capture(() => {
    const value = loss(counter);
    optimizer.step(grad(value, energy.parameters));
    logStep(value, losses, counter);
  });
  const first = Math.floor((2 * iterations) / 3);
  program.run(first);
  await engine.sync();
  optimizer.learningRate = learningRate / 10;
  program.run(iterations - first);
  const values = await losses.readFloats();
  program.dispose();
  return values;
}

for (const [name, blur] of [
  ['denoising', 0.3],
  ['sliced', 0],
] as const) {
  test(`${name} score matching recovers the score of a Gaussian`, async () => {
    const energy = quadratic();
    const data = tensor(engine, CLOUD.values, [CLOUD.n, 2]);
    await fit(energy, 240, 0.04, (step) =>
      name === 'denoising'
        ? denoisingScoreMatching(energy, data, { sigma: blur, random: { seed: 3, step } })
        : slicedScoreMatching(energy, data, { random: { seed: 3, step } }),
    );
    const found = await energy.moments();
    const blurred = CLOUD.covariance.map((row, i) => row.map((v, j) => v + (i === j ? blur ** 2 : 0)));
    compare(found.mean, CLOUD.centre, { abs: 0.02, rel: 0 }, 'mean');
    compare(found.precision.flat(), inverse2(blurred).flat(), { abs: 0.03, rel: 0.03 }, 'precision');
  });
}

test('a small network learns the score of a blurred mixture by denoising', async () => {
  const init = new Initializer(engine, 5);
  const network = new Sequential([new Linear(init, 1, 32), new Activation(silu), new Linear(init, 32, 1)]);
  const energy: Learnable = {
    parameters: network.parameters(),
    energy: (x) => reshape(network.forward(x), [x.shape[0]!]),
  };
  const [n, mode, deviation, sigma] = [512, 1.2, 0.4, 0.3];
  const z = gaussians(8, n, 0, deviation);
  const data = tensor(
    engine,
    z.map((v, i) => v + (i % 2 === 0 ? mode : -mode)),
    [n, 1],
  );
  await fit(energy, 300, 0.03, (step) =>
    denoisingScoreMatching(energy, data, { sigma, random: { seed: 2, step } }),
  );
  const xs = Float32Array.from({ length: 41 }, (_, i) => -2 + i / 10);
  const leaf = parameter(xs, [41, 1]);
  const scores = await grad(sum(energy.energy(leaf)), [leaf])[0]!.readFloats();
  const variance = deviation ** 2 + sigma ** 2;
  let [error, size] = [0, 0];
  xs.forEach((x, i) => {
    const weights = [mode, -mode].map((m) => Math.exp(-((x - m) ** 2) / (2 * variance)));
    const density = weights[0]! + weights[1]!;
    const truth = (weights[0]! * (mode - x) - weights[1]! * (mode + x)) / density / variance;
    error += density * (-scores[i]! - truth) ** 2;
    size += density * truth ** 2;
  });
  assert.ok(error / size < 0.03, `${(100 * error) / size} % of the score's square is not explained`);
});

// --- contrastive divergence --------------------------------------------------------------------------------------

test("the contrastive loss is the aligner's, with the same gradients; the L2 term is added", async () => {
  const model = new EnergyModel(new Initializer(engine, 3), { latent: 5, hidden: 7, layers: 1, slope: 0.2 });
  const previous = randomNormal(engine, [9, 5], { seed: 1 });
  const sampled = randomNormal(engine, [6, 5], { seed: 2 });
  const parameters = model.parameters();
  const ours = contrastiveLoss(model, previous, sampled);
  const theirs = sub(mean(model.forward(sampled)), mean(model.forward(previous)));
  compare([await ours.item()], [await theirs.item()], { abs: 1e-6, rel: 1e-6 }, 'loss');
  const [a, b] = await Promise.all(
    [ours, theirs].map(async (loss) =>
      (await Promise.all(grad(loss, parameters).map((g) => g.readFloats()))).flatMap((g) => [...g]),
    ),
  );
  compare(a!, b!, { abs: 1e-6, rel: 1e-5 }, 'gradients');
  const [real, made] = await Promise.all([previous, sampled].map((x) => model.energy(x).readFloats()));
  const square = (e: Float32Array): number => e.reduce((s, v) => s + v * v, 0) / e.length;
  const l2 = square(real!) + square(made!);
  assert.ok(l2 > 0.01);
  compare(
    [await energyL2(model.energy(previous), model.energy(sampled)).item()],
    [l2],
    { abs: 1e-6, rel: 1e-5 },
    'L2',
  );
  const with_ = contrastiveLoss(model, previous, sampled, { l2: 0.7 });
  compare([await with_.item()], [(await theirs.item()) + 0.7 * l2], { abs: 1e-5, rel: 1e-5 }, 'with L2');
});

test('no gradient flows into the samples', async () => {
  const energy = quadratic();
  const sampled = parameter([1, 2], [1, 2]);
  const loss = contrastiveLoss(energy, zeros(engine, [1, 2]), sampled);
  await fails(() => grad(loss, [sampled]), 'NOT_DIFFERENTIABLE');
});

test('replay buffer: batches take turns, and only their rows change', async () => {
  const first = Float32Array.from({ length: 12 }, (_, i) => i);
  const buffer = new ReplayBuffer(tensor(engine, first, [6, 2]), 2);
  const want = [...first];
  for (const turn of [0, 1, 2, 0, 1]) {
    assert.equal([...(await buffer.take().readFloats())], want.slice(4 * turn, 4 * turn + 4));
    const news = Float32Array.from({ length: 4 }, (_, i) => 100 * (turn + 1) + want[4 * turn + i]!);
    buffer.put(tensor(engine, news, [2, 2]));
    want.splice(4 * turn, 4, ...news);
    assert.equal([...(await buffer.points.readFloats())], want);
  }
  await fails(() => buffer.put(zeros(engine, [3, 2])), 'SHAPE', /\[3, 2\]/, /\[2, 2\]/);
  await fails(
    () => new ReplayBuffer(zeros(engine, [6, 2]), 4),
    'ARGUMENT',
    /capacity 6 is not a multiple of batch 4/,
  );
  await fails(() => new ReplayBuffer(zeros(engine, [6]), 2), 'SHAPE', /\[6\]/);
  const before = engine.memory.inUse;
  new ReplayBuffer(zeros(engine, [6, 2]), 2).dispose();
  assert.ok(engine.memory.inUse <= before + 1, 'only the tensor given is left');
});

const UNIT = gaussianEnergy(
  engine,
  [0, 0],
  [
    [1, 0],
    [0, 1],
  ],
);

const persistent = (options: Partial<PersistentOptions>): PersistentChains =>
  new PersistentChains(engine, {
    fresh: (n, source) => randomUniform(engine, [n, 2], source, 5, 6),
    chains: 4,
    sampler: gradientDescent({ stepSize: 0 }),
    steps: 1,
    random: { seed: 1 },
    ...options,
  });

test('persistent chains go on where they were', async () => {
  const chains = persistent({
    capacity: 8,
    freshFraction: 0,
    sampler: gradientDescent({ stepSize: 0.5 }),
    steps: 2,
  });
  const first = await chains.buffer.points.readFloats();
  assert.ok(first.every((v) => v >= 5 && v < 6) && new Set(first).size > 12);
  const ends = [];
  for (let call = 0; call < 3; call++) ends.push(await chains.advance(UNIT).readFloats());
  const quarter = first.map((v) => v / 4);
  compare(ends[0]!, quarter.subarray(0, 8), { abs: 1e-6, rel: 1e-6 }, 'the first batch');
  compare(ends[1]!, quarter.subarray(8), { abs: 1e-6, rel: 1e-6 }, 'the second');
  compare(
    ends[2]!,
    quarter.subarray(0, 8).map((v) => v / 4),
    { abs: 1e-6, rel: 1e-6 },
    'the first again',
  );
  assert.equal([...(await chains.buffer.points.readFloats())], [...ends[2]!, ...ends[1]!]);
  chains.dispose();
});

test('the share of fresh starts is the one asked for, and fresh points differ from call to call', async () => {
  const [n, calls] = [256, 12];
  for (const share of [0, 0.2, 1]) {
    const chains = persistent({ chains: n, freshFraction: share });
    let before = await chains.buffer.points.readFloats();
    let renewed = 0;
    for (let call = 0; call < calls; call++) {
      const after = await chains.advance(UNIT).readFloats();
      for (let i = 0; i < n; i++) {
        const changed = [0, 1].map((d) => after[2 * i + d] !== before[2 * i + d]);
        assert.is(changed[0], changed[1], 'a chain is renewed as a whole');
        if (changed[0]) renewed++;
      }
      before = after;
    }
    const trials = n * calls;
    const error = 4.5 * Math.sqrt(trials * share * (1 - share));
    assert.ok(Math.abs(renewed - trials * share) <= error, `share ${share}: ${renewed} of ${trials}`);
    chains.dispose();
  }
});

test('persistent contrastive divergence learns a Gaussian', async () => {
  const energy = quadratic();
  const data = tensor(engine, CLOUD.values, [CLOUD.n, 2]);
  const chains = persistent({
    chains: 512,
    fresh: (n, source) => randomNormal(engine, [n, 2], source),
    sampler: mala({ stepSize: 0.12 }),
    steps: 4,
    freshFraction: 0.01,
  });
  await fit(energy, 160, 0.04, (run) => chains.loss(energy, data, { run }));
  const found = await energy.moments();
  // 512 chains know a variance to 6 % at one time; the slow end of the fit averages over many.
  compare(found.mean, CLOUD.centre, { abs: 0.06, rel: 0 }, 'mean');
  compare(inverse2(found.precision).flat(), CLOUD.covariance.flat(), { abs: 0.02, rel: 0.12 }, 'covariance');
  chains.dispose();
});

test('persistent contrastive divergence learns a mixture', async () => {
  const centres = parameter([0.5, 0, -0.5, 0], [1, 2, 2]);
  const weights = parameter([0, 0], [1, 2]);
  const precision = parameter([2], [1]);
  const energy: Learnable = {
    parameters: [centres, weights, precision],
    energy(x) {
      const away = sub(reshape(x, [x.shape[0]!, 1, 2]), centres);
      return neg(logSumExp(sub(weights, mul(mul(sum(mul(away, away), 2), precision), 0.5))));
    },
  };
  // 70 % at (1, 0.6), 30 % at (−1, −0.2), of deviation 0.5.
  const [n, deviation] = [1000, 0.5];
  const modes = [
    [1, 0.6],
    [-1, -0.2],
  ];
  const values = gaussians(23, 2 * n, 0, deviation).map((v, i) => v + modes[i < 1.4 * n ? 0 : 1]![i % 2]!);
  const data = tensor(engine, values, [n, 2]);
  const chains = persistent({
    chains: 512,
    fresh: (rows, source) => randomUniform(engine, [rows, 2], source, -2, 2),
    sampler: mala({ stepSize: 0.12 }),
    steps: 4,
    // A fresh chain is worth little before it has forgotten its start: few of them.
    freshFraction: 0.004,
    clamp: [-4, 4],
  });
  await fit(energy, 160, 0.05, (run) => chains.loss(energy, data, { run, l2: 1e-4 }));
  const [a, b] = await weights.readFloats();
  const share = 1 / (1 + Math.exp(b! - a!));
  const near = (got: number, want: number, tolerance: number, what: string): void =>
    assert.ok(Math.abs(got - want) < tolerance, `${what} is ${got}, should be ${want}`);
  (await centres.readFloats()).forEach((v, i) => {
    near(v, modes.flat()[i]!, 0.12, `centre ${i}`);
  });
  near(share, 0.7, 0.06, 'share of the first mode');
  near(await precision.item(), 4, 0.5, 'precision');
  // Samples of what was learnt, by another sampler.
  const start = randomUniform(engine, [1024, 2], { seed: 77 }, -2, 2);
  const ends = sample(energy, start, mala({ stepSize: 0.15 }), { steps: 150, random: { seed: 78 } });
  const made = await ends.latents.readFloats();
  const moment = (x: Float32Array, f: (u: number, v: number) => number): number => {
    let total = 0;
    for (let i = 0; i < x.length; i += 2) total += f(x[i]!, x[i + 1]!);
    return (2 * total) / x.length;
  };
  for (const [what, f, tolerance] of [
    ['mean 0', (u) => u, 0.15],
    ['mean 1', (_, v) => v, 0.1],
    ['square 0', (u) => u * u, 0.15],
    ['product', (u, v) => u * v, 0.1],
    ['square 1', (_, v) => v * v, 0.1],
  ] as [string, (u: number, v: number) => number, number][]) {
    near(moment(made, f), moment(values, f), tolerance, what);
  }
  chains.dispose();
});

// --- stabilisers ---------------------------------------------------------------------------------------------------

test('an energy regulariser of nothing is refused', async () => {
  await fails(() => energyL2(), 'ARGUMENT', /no energies/);
});

test('misuse of the losses is refused', async () => {
  const x = zeros(engine, [4, 2]);
  const random = { seed: 1 };
  await fails(() => denoisingScoreMatching(UNIT, x, { sigma: 0, random }), 'ARGUMENT', /sigma is 0/);
  await fails(() => slicedScoreMatching(UNIT, full(engine, [4], 1), { random }), 'SHAPE', /\[4\]/);
  const model = new EnergyModel(new Initializer(engine, 3), { latent: 2, hidden: 3, layers: 1, slope: 0.2 });
  await fails(() => slicedScoreMatching(model, x, { random }), 'ARGUMENT', /curvature is zero/, /denoising/);
  const flat: Energy = { energy: (points) => sum(points, 1) };
  await fails(() => slicedScoreMatching(flat, x, { random }), 'NOT_DIFFERENTIABLE');
  await fails(() => persistent({ freshFraction: 1.5 }), 'ARGUMENT', /freshFraction is 1\.5/);
  await fails(() => persistent({ chains: 4, capacity: 6 }), 'ARGUMENT', /6 is not a multiple/);
  await fails(() => persistent({ chains: 0 }), 'ARGUMENT', /chains is 0/);
  await fails(() => persistent({ random: { seed: 0.5 } }), 'ARGUMENT', /seed is 0\.5/);
});

test.run();
