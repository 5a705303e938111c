// Langevin chains with their options, and the aligner as its users see it: fit, align, save, load, resume, stop.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Chains } from '../src/ebm/chains.ts';
import { canRunDeep } from '../src/ebm/deep.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { canRunHidden } from '../src/ebm/hidden.ts';
import { mala } from '../src/ebm/mala.ts';
import { type SampleOptions, sample } from '../src/ebm/sample.ts';
import type { Schedule } from '../src/ebm/schedule.ts';
import { gradientDescent, langevinSampler } from '../src/ebm/unadjusted.ts';
import { EnergyAligner, type FitHooks } from '../src/eli/aligner.ts';
import type { AlignerState, LatentPairs } from '../src/eli/fit.ts';
import type { AlignerOptions } from '../src/eli/options.ts';
import { writeSafetensors } from '../src/files/safetensors.ts';
import { Initializer } from '../src/nn/init.ts';
import { add } from '../src/ops/binary.ts';
import { slice } from '../src/ops/views.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const folder = temporaryFolder();
test.after(closeEngine);

/** Small and odd: a software driver takes long to compile the fused kernel for larger ones. */
const LATENT = 5;
const modelOf = (layers: number): EnergyModel =>
  new EnergyModel(new Initializer(engine, 3), { latent: LATENT, hidden: 7, layers, slope: 0.2 });
const start = (): Tensor => randomNormal(engine, [13, LATENT], { seed: 4 });

/** Ten steps add up rounding, normals differ by a few ulp between kernels at most. */
const CHAIN = { abs: 1e-5, rel: 1e-5 };

interface ChainOptions extends SampleOptions {
  readonly stepSize: Schedule;
  readonly noise?: Schedule;
}

const langevin = (model: EnergyModel, x: Tensor, { stepSize, noise, ...options }: ChainOptions): Chains =>
  sample(
    model,
    x,
    noise === undefined ? gradientDescent({ stepSize }) : langevinSampler({ stepSize, noise }),
    options,
  );

const NOISY: ChainOptions = {
  steps: 10,
  stepSize: 0.1,
  noise: 0.4,
  random: { seed: 2 ** 34 + 7, stream: 5 },
};
const CASES: Readonly<Record<string, ChainOptions>> = {
  'without noise': { steps: 10, stepSize: 0.1 },
  noise: NOISY,
  'noise and clamp': { ...NOISY, clamp: [-0.5, 0.75] },
  schedules: { ...NOISY, stepSize: (t, steps) => 0.2 * (1 - t / steps), noise: (t) => 0.5 / (t + 1) },
  'no step': { steps: 0, stepSize: 0.1 },
};

for (const layers of [0, 1, 3]) {
  for (const [name, options] of Object.entries(CASES)) {
    if (layers === 3 && name !== 'noise and clamp') continue;
    test(`${layers} hidden layers, ${name}: plain and fused chains agree at every point`, async () => {
      const model = modelOf(layers);
      const x = start();
      const before = [...(await x.readFloats())];
      const whole = { ...options, trajectory: true, keepStart: true };
      const [plain, fused] = (['plain', 'fused'] as const).map((variant) =>
        langevin(model, x, { ...whole, variant }),
      );
      const shape = [options.steps + 1, 13, LATENT];
      for (const samples of [plain!, fused!]) {
        assert.equal(samples.latents.shape, [13, LATENT]);
        assert.equal(samples.trajectory!.points.shape, shape);
        assert.equal(samples.trajectory!.energies.shape, shape.slice(0, 2));
        const points = await samples.trajectory!.points.readFloats();
        const ends = await samples.latents.readFloats();
        assert.equal([...points.subarray(0, ends.length)], before, 'the first point is the start');
        assert.equal([...points.subarray(-ends.length)], [...ends], 'the last point is the end');
        // The end is a tensor of its own: overwriting it changes neither the start nor the points.
        samples.latents.write(new Float32Array(ends.length));
        if (options.steps > 0) {
          assert.ok(ends.some((v, i) => Math.abs(v - before[i]!) > 0.01));
        }
      }
      for (const what of ['points', 'energies'] as const) {
        const [got, want] = [fused!, plain!].map((samples) => samples.trajectory![what].readFloats());
        compare(await got!, await want!, CHAIN, what);
      }
      assert.equal([...(await x.readFloats())], before, 'the start is left as it is');
      const alone = langevin(model, x, { ...options, variant: 'fused' }).latents;
      const points = await fused!.trajectory!.points.readFloats();
      assert.equal(
        [...(await alone.readFloats())],
        [...points.subarray(-alone.size)],
        'the same chain without trajectory',
      );
      if (options.steps === 0) return;
      const moved = langevin(model, x, { ...options, variant: 'fused', trajectory: true }).trajectory!;
      const energies = await fused!.trajectory!.energies.readFloats();
      assert.equal([...(await moved.points.readFloats())], [...points.subarray(x.size)], 'without the start');
      assert.equal([...(await moved.energies.readFloats())], [...energies.subarray(13)]);
    });
  }
}

test('chains off the tape: a loss of their ends has no gradient by the energy', async () => {
  for (const [layers, hidden] of [
    [1, 7],
    [1, 64],
    [2, 64],
  ] as const) {
    const model = new EnergyModel(new Initializer(engine, 1), { latent: LATENT, hidden, layers, slope: 0.2 });
    for (const variant of ['auto', 'plain', 'fused'] as const) {
      const { latents } = langevin(model, start(), { steps: 2, stepSize: 0.1, variant });
      assert.is(latents.requiresGrad, false, `${layers} layers of ${hidden}, ${variant}`);
      assert.ok((await latents.readFloats()).every(Number.isFinite));
    }
  }
});

test('two hidden layers of any size: the fastest way agrees with plain ops', async () => {
  const lanes = engine.subgroupLanes ?? 8;
  let inHidden = 0;
  for (const units of [1, 2, 6, 10, 12, 14]) {
    const config = { latent: LATENT, hidden: lanes * units, layers: 2, slope: 0.2 };
    const model = new EnergyModel(new Initializer(engine, 1), config);
    if (canRunDeep(engine, config)) inHidden++;
    const [got, want] = await Promise.all(
      (['auto', 'plain'] as const).map((variant) =>
        langevin(model, start(), { ...CASES['without noise']!, variant }).latents.readFloats(),
      ),
    );
    compare(got!, want!, CHAIN, `${units} units a lane`);
  }
  if (engine.subgroupLanes !== undefined) assert.is(inHidden, 3);
});

test('more rows than one launch takes: each ends where it would alone', async () => {
  const rows = 16_384;
  const x = randomNormal(engine, [rows + 40, LATENT], { seed: 9 });
  for (const layers of [1, 2]) {
    const config = { latent: LATENT, hidden: 32, layers, slope: 0.2 };
    const model = new EnergyModel(new Initializer(engine, 1), config);
    const ends = (points: Tensor) =>
      langevin(model, points, { steps: 2, stepSize: 0.1 }).latents.readFloats();
    const all = [...(await ends(x))];
    for (const [first, last] of [
      [0, rows],
      [rows, rows + 40],
    ] as const) {
      const want = [...(await ends(slice(x, 0, first, last)))];
      assert.equal(all.slice(first * LATENT, last * LATENT), want, `${layers} layers, rows from ${first}`);
    }
  }
});

test('chains of many steps hold no more memory than those of few', async () => {
  const model = modelOf(1);
  const x = start();
  const used = (steps: number): number => {
    const before = engine.memory.bytesInUse;
    const program = engine.capture(() => langevin(model, x, { ...NOISY, steps, variant: 'plain' }).latents);
    const bytes = engine.memory.bytesInUse - before;
    program.dispose();
    return bytes;
  };
  const few = used(10);
  assert.ok(few > 0);
  assert.is(used(40), few);
});

test('a chain without noise goes down the energy', async () => {
  const model = modelOf(1);
  const x = start();
  const [first, last] = await Promise.all(
    [x, langevin(model, x, { steps: 20, stepSize: 0.1 }).latents].map((z) => model.energy(z).readFloats()),
  );
  first!.forEach((energy, i) => {
    assert.ok(last![i]! < energy, `row ${i}: ${energy} → ${last![i]}`);
  });
});

test('noise depends on seed, stream and step; clamp holds at every point but the first', async () => {
  const model = modelOf(1);
  const x = start();
  const draw = async (options: ChainOptions) =>
    (await langevin(model, x, options).latents.readFloats()).join();
  const { random } = NOISY as { random: { seed: number; stream: number } };
  const ends = await Promise.all([
    draw(NOISY),
    draw({ ...NOISY, random: { ...random, seed: random.seed + 2 ** 33 } }),
    draw({ ...NOISY, random: { ...random, stream: 6 } }),
    draw({ ...NOISY, noise: 0 }),
  ]);
  assert.is(new Set(ends).size, 4);
  assert.is(await draw(NOISY), ends[0], 'the same seed gives the same bits');
  const whole = { trajectory: true, keepStart: true } as const;
  const { trajectory } = langevin(model, x, { ...NOISY, ...whole, clamp: [-0.5, 0.75] });
  const points = (await trajectory!.points.readFloats()).subarray(13 * LATENT);
  assert.is(Math.min(...points), -0.5);
  assert.is(Math.max(...points), 0.75);
});

test('the noise of a step has the deviation that was asked for', async () => {
  const model = modelOf(0);
  const x = zeros(engine, [2000, LATENT]);
  const options = { steps: 1, stepSize: 0, noise: 0.3, random: { seed: 1 } };
  for (const variant of ['plain', 'fused'] as const) {
    const moved = await langevin(model, x, { ...options, variant }).latents.readFloats();
    const square = moved.reduce((s, v) => s + v * v, 0) / moved.length;
    // Four standard errors of a variance from 16,000 numbers.
    assert.ok(Math.abs(square / 0.09 - 1) < 4 * Math.sqrt(2 / moved.length), `${variant}: ${square}`);
  }
});

test('bad options of a chain are refused', async () => {
  const model = modelOf(1);
  const x = start();
  const refused = (options: Partial<ChainOptions>, ...patterns: RegExp[]) =>
    fails(() => langevin(model, x, { steps: 3, stepSize: 0.1, ...options }), 'ARGUMENT', ...patterns);
  await refused({ steps: -1 }, /steps is -1/);
  await refused({ steps: 1.5 }, /steps is 1\.5/);
  await refused({ steps: Number.NaN }, /steps is NaN/);
  await refused({ steps: 2e6 }, /steps is 2000000/);
  await refused({ stepSize: Number.NaN }, /stepSize is NaN at step 0, must be finite/);
  await refused({ stepSize: 1e39 }, /stepSize is 1e\+39 .*finite/);
  await refused({ stepSize: (t) => 1 / t }, /stepSize is Infinity at step 0, must be finite/);
  await refused({ noise: Number.POSITIVE_INFINITY, random: { seed: 1 } }, /noise is Infinity .*finite/);
  await refused({ noise: 0.1 }, /draws random numbers/, /random: \{ seed \}/);
  const forced = (variant: 'fused' | 'hidden', options: Partial<ChainOptions>, pattern: RegExp) =>
    refused({ ...options, variant }, pattern);
  await forced('hidden', NOISY, /hidden-layer variant/);
  for (const variant of ['fused', 'hidden'] as const) {
    const none = new RegExp(`no kernels for variant "${variant}"`);
    await forced(variant, { ...NOISY, random: { seed: 1, run: 2 } }, none);
    await forced(variant, { clamp: [(t) => t - 5, 5] }, none);
    await forced(variant, { trajectory: true, thin: 2 }, none);
    const bare = { energy: (points: Tensor) => model.energy(points) };
    const step = gradientDescent({ stepSize: 0.1 });
    await fails(() => sample(bare, x, step, { steps: 1, variant }), 'ARGUMENT', none, /need an EnergyModel/);
    const accepting = mala({ stepSize: 0.1 });
    const options = { steps: 1, random: { seed: 1 }, variant };
    await fails(() => sample(model, x, accepting, options), 'ARGUMENT', none);
  }
  await fails(() => langevin(model, zeros(engine, [3, 8]), NOISY), 'SHAPE', /\[3, 8\]/, /\[n, 5\]/);
  await fails(() => langevin(model, zeros(engine, [3, LATENT], 'u32'), NOISY), 'DTYPE', /u32/);
});

test('energy models of sizes out of range are refused', async () => {
  const make = (change: object) => () =>
    new EnergyModel(new Initializer(engine, 1), { latent: 8, hidden: 32, layers: 1, slope: 0.2, ...change });
  await fails(make({ latent: 0 }), 'ARGUMENT', /latent is 0/);
  await fails(make({ hidden: 513 }), 'ARGUMENT', /hidden is 513/);
  await fails(make({ layers: 8 }), 'ARGUMENT', /layers is 8/);
  await fails(make({ latent: 2.5 }), 'ARGUMENT', /latent is 2\.5/);
});

// --- the aligner -----------------------------------------------------------------------------------------------

const ROWS = 256;
const WIDTH = 8;
const SHIFT = Float32Array.of(1, -1, 1, -1, 0.5, 0.5, -0.5, 0);

/** Latents of a previous model, normal around zero, and the same latents shifted by the current model. */
function pairsOf(): LatentPairs {
  const previous = randomNormal(engine, [ROWS, WIDTH], { seed: 8 });
  return { previous, current: add(previous, tensor(engine, SHIFT)) };
}

const fresh = (): Tensor => randomNormal(engine, [13, WIDTH], { seed: 4 });

const OPTIONS: AlignerOptions = {
  iterations: 40,
  batch: 32,
  steps: 5,
  hidden: 32,
  learningRate: 1e-3,
  emaDecay: 0.9,
};
const VARIANTS = canRunHidden(engine, { latent: WIDTH, hidden: 32, layers: 1, slope: 0.2 })
  ? (['plain', 'hidden'] as const)
  : (['plain'] as const);

const fit = (options: AlignerOptions = {}, hooks: FitHooks = {}, pairs = pairsOf()): Promise<EnergyAligner> =>
  EnergyAligner.fit(engine, pairs, { ...OPTIONS, ...options }, hooks);

/** Distance of the mean of latents from the mean of the previous model's. */
async function meanShift(latents: Tensor, previous: Tensor): Promise<number> {
  const [a, b] = [await latents.readFloats(), await previous.readFloats()];
  const difference = new Float64Array(WIDTH);
  a.forEach((v, i) => {
    difference[i % WIDTH]! += (v - b[i]!) / ROWS;
  });
  return Math.hypot(...difference);
}

for (const variant of VARIANTS) {
  test(`${variant}: a fit lowers the energy of the previous latents and aligns the current ones`, async () => {
    const pairs = pairsOf();
    const reports: number[] = [];
    const options = { variant, iterations: 300, learningRate: 2e-3, steps: 10 };
    const onProgress = ({ iteration, loss }: { iteration: number; loss: number }): void => {
      reports.push(iteration);
      assert.ok(Number.isFinite(loss));
    };
    const aligner = await fit(options, { every: 120, onProgress }, pairs);
    assert.equal(reports, [120, 240, 300]);
    const before = await meanShift(pairs.current, pairs.previous);
    const after = await meanShift(aligner.align(pairs.current), pairs.previous);
    assert.ok(Math.abs(before - Math.hypot(...SHIFT)) < 1e-5);
    assert.ok(after < 0.7 * before, `the means were ${before} apart, now ${after}`);
    const mean = async (x: Tensor) =>
      (await aligner.energy(x).readFloats()).reduce((s, v) => s + v, 0) / ROWS;
    assert.ok((await mean(pairs.previous)) < (await mean(pairs.current)));
    aligner.dispose();
  });

  test(`${variant}: the same seed gives the same bits, another seed others`, async () => {
    const z = fresh();
    const ends = [];
    for (const seed of [1, 1, 2]) {
      using aligner = await fit({ variant, seed });
      ends.push((await aligner.align(z).readFloats()).join());
    }
    assert.is(ends[0], ends[1]);
    assert.is.not(ends[0], ends[2]);
  });

  test(`${variant}: a fit resumed in the middle ends with the same bits`, async () => {
    let middle: AlignerState | undefined;
    const seen: number[] = [];
    using whole = await fit(
      { variant },
      {
        every: 10,
        onProgress: async ({ iteration, aligner }) => {
          if (iteration === 20) middle = await aligner.state();
        },
      },
    );
    using resumed = await fit(
      { variant },
      {
        every: 10,
        resume: middle!,
        onProgress: ({ iteration }) => {
          seen.push(iteration);
        },
      },
    );
    assert.equal(seen, [30, 40]);
    const [want, got] = [await whole.state(), await resumed.state()];
    assert.is(want.iteration, 40);
    assert.equal(got, want);
    assert.not.equal(middle!.model, want.model, 'the second half did something');
  });

  test(`${variant}: fits leave no buffers in use`, async () => {
    const pairs = pairsOf();
    const before = engine.memory.inUse;
    const aligner = await fit({ variant }, {}, pairs);
    for (const x of [aligner.align(pairs.current), aligner.energy(pairs.current)]) x.dispose();
    aligner.dispose();
    assert.is(engine.memory.inUse, before);
  });

  test(`${variant}: latents that are not finite are refused with the iteration`, async () => {
    const pairs = pairsOf();
    const bad = await pairs.current.readFloats();
    // Row 100 has its turn in the third mini-batch.
    bad[100 * WIDTH + 3] = Number.POSITIVE_INFINITY;
    pairs.current.write(bad);
    const order = Uint32Array.from({ length: 40 * 32 }, (_, i) => (i === 2 * 32 + 5 ? 100 : i % 32));
    const before = engine.memory.inUse;
    await fails(() => fit({ variant }, { order }, pairs), 'NON_FINITE', /at iteration 3\b/);
    assert.is(engine.memory.inUse, before);
  });
}

if (VARIANTS.length === 2) {
  test('plain and hidden iterations agree on what the model does', async () => {
    const z = fresh();
    const results: Float32Array[][] = [];
    for (const variant of VARIANTS) {
      const losses: number[] = [];
      const hooks: FitHooks = {
        every: 1,
        onProgress: ({ loss }) => {
          losses.push(loss);
        },
      };
      using aligner = await fit({ variant, iterations: 20 }, hooks);
      results.push([
        await aligner.energy(z).readFloats(),
        await aligner.align(z).readFloats(),
        Float32Array.from(losses),
      ]);
    }
    // RMSprop turns rounding noise of gradients near zero into steps of the learning rate (1e-3): single weights drift
    // apart, the differences of energies do not. The output bias shifts all energies alike and has no gradient.
    const [plain, hidden] = results.map(([energy, ...rest]) => [
      energy!.map((e) => e - energy![0]!),
      ...rest,
    ]);
    for (const [i, what] of ['energy', 'aligned latents', 'losses'].entries())
      compare(hidden![i]!, plain![i]!, { abs: 2e-3, rel: 2e-3 }, what);
  });
}

test('align with trajectory: every point, and the same end', async () => {
  const z = fresh();
  using aligner = await fit({ hidden: 7, iterations: 3 });
  const { latents, trajectory } = aligner.alignWithTrajectory(z);
  assert.equal(trajectory.shape, [6, 13, WIDTH]);
  const points = await trajectory.readFloats();
  assert.equal([...points.subarray(0, z.size)], [...(await z.readFloats())]);
  const want = await aligner.align(z).readFloats();
  assert.equal([...points.subarray(-z.size)], [...want]);
  assert.equal([...(await latents.readFloats())], [...want]);
});

test('save and load: the same state, the same aligned bits', async () => {
  const path = join(folder, 'aligner.safetensors');
  const z = fresh();
  using aligner = await fit();
  await aligner.save(path);
  using loaded = await EnergyAligner.load(engine, path);
  assert.is(loaded.latent, WIDTH);
  assert.equal(loaded.config, aligner.config);
  assert.equal(await loaded.state(), await aligner.state());
  assert.equal([...(await loaded.align(z).readFloats())], [...(await aligner.align(z).readFloats())]);
});

test('files that are no aligner are refused', async () => {
  const path = join(folder, 'whole.safetensors');
  using aligner = await fit({ iterations: 1 });
  await aligner.save(path);
  const bytes = readFileSync(path);
  const before = engine.memory.inUse;
  const refused = async (name: string, content: Uint8Array | string, ...patterns: RegExp[]) => {
    const file = join(folder, name);
    writeFileSync(file, content);
    await fails(() => EnergyAligner.load(engine, file), 'FORMAT', new RegExp(name), ...patterns);
  };
  await refused('shorter.safetensors', bytes.subarray(0, bytes.length - 10));
  await refused('header.safetensors', bytes.subarray(0, 50));
  await refused('nothing.safetensors', '');
  await refused('text.safetensors', 'this is a text and no aligner at all');
  const foreign = join(folder, 'foreign.safetensors');
  const one = { a: { dtype: 'F32', shape: [1], data: Float32Array.of(1) } } as const;
  await writeSafetensors(foreign, one, { format: 'pt' });
  await fails(
    () => EnergyAligner.load(engine, foreign),
    'FORMAT',
    /foreign\.safetensors .* is "pt", expected "eli-webgpu aligner"/,
  );
  const metadata = { format: 'eli-webgpu aligner', latent: '8', iteration: '1' };
  await writeSafetensors(foreign, one, { ...metadata, config: '{"steps":-1}' });
  await fails(() => EnergyAligner.load(engine, foreign), 'FORMAT', /steps is -1/);
  await writeSafetensors(foreign, one, { ...metadata, config: '{}' });
  await fails(() => EnergyAligner.load(engine, foreign), 'FORMAT', /missing: 0\.weight/);
  await fails(
    () => EnergyAligner.load(engine, join(folder, 'none.safetensors')),
    'FILE',
    /none\.safetensors/,
  );
  assert.is(engine.memory.inUse, before, 'what could not be loaded holds nothing');
});

test('a signal stops a fit at the next report', async () => {
  const pairs = pairsOf();
  const before = engine.memory.inUse;
  const controller = new AbortController();
  const onProgress = ({ iteration }: { iteration: number }): void => {
    if (iteration === 20) controller.abort();
  };
  const hooks = { every: 10, signal: controller.signal, onProgress };
  await fails(() => fit({}, hooks, pairs), 'ABORTED', /iteration 20\b/);
  assert.is(engine.memory.inUse, before);
});

test('latents and options that do not fit are refused', async () => {
  const x = zeros(engine, [64, WIDTH]);
  const with_ = (previous: Tensor, current: Tensor, options: AlignerOptions = {}) =>
    fit(options, {}, { previous, current });
  await fails(() => with_(x, zeros(engine, [64, 5])), 'SHAPE', /\[64, 8\]/, /\[64, 5\]/);
  await fails(() => with_(zeros(engine, [64]), zeros(engine, [64])), 'SHAPE', /\[64\]/);
  await fails(() => with_(x, x, { batch: 65 }), 'SHAPE', /64 pairs .*batch of 65/);
  await fails(() => with_(x, x, { steps: 0 }), 'CONFIG', /steps is 0/);
  await fails(() => with_(x, x, { stepSize: Number.NaN }), 'CONFIG', /stepSize is NaN/);
  await fails(() => with_(x, x, { epochs: 3 } as AlignerOptions), 'CONFIG', /unknown aligner option epochs/);
  await fails(() => with_(x, x, { layers: 2, variant: 'hidden' }), 'CONFIG', /variant "hidden"/);
});

test.run();
