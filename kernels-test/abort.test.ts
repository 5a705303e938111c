// An AbortSignal stops a fit, a trainer, chains, files of latents and autotune: before the first step and soon after it is
// raised, with an error that programs recognise, and what was done can be kept.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AbortError, partialOf } from '../src/abort.ts';
import { autotune, type ClassTimings } from '../src/bench/autotune.ts';
import type { Chains } from '../src/ebm/chains.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { mala } from '../src/ebm/mala.ts';
import { sample, sampleAsync } from '../src/ebm/sample.ts';
import { langevinSampler } from '../src/ebm/unadjusted.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { alignBatches, alignFile } from '../src/eli/apply.ts';
import type { AlignerState } from '../src/eli/fit.ts';
import { EliError } from '../src/errors.ts';
import { openLatents } from '../src/files/latents.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear } from '../src/nn/layers.ts';
import { gather } from '../src/ops/gather.ts';
import { matmul } from '../src/ops/matmul.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { Trainer } from '../src/train/trainer.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { saveNpy } from './support/latents.ts';

const engine = await openEngine();
const folder = mkdtempSync(join(tmpdir(), 'eli-abort-'));
test.after(async () => {
  rmSync(folder, { recursive: true });
  await closeEngine();
});

const d = 32;
const latents = randomNormal(engine, [2048, d], { seed: 1 });
const pairs = { previous: latents, current: randomNormal(engine, [2048, d], { seed: 2 }, 0.5) };
const model = new EnergyModel(new Initializer(engine, 1), { latent: d, hidden: 32, layers: 1, slope: 0.2 });
const labels = zeros(engine, [2048], 'u32');
const chains = mala({ stepSize: 0.01 });
const random = { seed: 1 };
const values = await latents.readFloats();
const file = await openLatents(saveNpy(folder, 'latents.npy', values, d));
const big = await openLatents(
  saveNpy(
    folder,
    'big.npy',
    Float32Array.from({ length: 100_000 * d }, (_, i) => values[i % values.length]!),
    d,
  ),
);
const aligner = await EnergyAligner.fit(engine, pairs, { iterations: 10, steps: 100 });
test.after(async () => {
  await Promise.all([file.close(), big.close()]);
});

function training(): Trainer {
  const layer = new Linear(new Initializer(engine, 1), d, 10);
  const samples = {
    count: 2048,
    inputs: (index: Tensor) => gather(latents, index),
    labels: (index: Tensor) => gather(labels, index),
  };
  return new Trainer(layer, samples, sgd(layer.parameters(), { learningRate: 0.01 }), { batch: 16, seed: 1 });
}

/** Work that would take minutes, by name; each takes a signal. */
const WORK: Readonly<Record<string, (signal: AbortSignal) => Promise<unknown>>> = {
  fit: (signal) => EnergyAligner.fit(engine, pairs, { iterations: 1_000_000 }, { signal, every: 500_000 }),
  'fit, op by op': (signal) =>
    EnergyAligner.fit(engine, pairs, { iterations: 1_000_000, variant: 'plain' }, { signal }),
  Trainer: (signal) => training().run(1_000_000, { signal }),
  sample: (signal) => sampleAsync(model, latents, chains, { steps: 1_000_000, random, signal }),
  alignFile: (signal) => alignFile(engine, big, aligner, join(folder, 'out.npy'), { signal }),
  autotune: (signal) =>
    autotune(engine, () => matmul(zeros(engine, [256, 256]), zeros(engine, [256, 256])), {
      time: 2000,
      signal,
    }),
};

/** How work ends that a signal stops for a reason, or for that of a signal. @returns the error, after its name, code and cause are checked */
async function stopped(work: Promise<unknown>, reason: unknown): Promise<AbortError> {
  const error: unknown = await work.then(
    () => assert.unreachable('it was not stopped'),
    (error: unknown) => error,
  );
  assert.instance(error, AbortError, String(error));
  assert.instance(error, EliError);
  const { name, code, cause } = error as AbortError;
  assert.equal({ name, code }, { name: 'AbortError', code: 'ABORTED' });
  assert.is(cause, reason instanceof AbortSignal ? reason.reason : reason);
  return error as AbortError;
}

for (const [name, work] of Object.entries(WORK)) {
  test(`${name}: a signal that is raised already stops it before anything is done`, async () => {
    const reason = new Error('no');
    const start = performance.now();
    await stopped(work(AbortSignal.abort(reason)), reason);
    assert.ok(performance.now() - start < 10_000);
  });

  test(`${name}: a signal raised in between stops it soon`, async () => {
    const stop = new AbortController();
    const reason = { why: name };
    let raised = 0;
    // Long enough for its kernels to be compiled.
    setTimeout(() => {
      raised = performance.now();
      stop.abort(reason);
    }, 1000);
    await stopped(work(stop.signal), reason);
    const after = performance.now() - raised;
    // Two pieces of 40 ms are in flight; the rest is a busy machine.
    assert.ok(after < 5000, `${after} ms after the signal`);
    await engine.sync();
  });
}

for (const name of ['fit', 'Trainer', 'sample']) {
  test(`${name}: the signal is looked at every 40 ms or so`, async () => {
    const stop = new AbortController();
    const looks: number[] = [];
    Object.defineProperty(stop.signal, 'aborted', {
      get: () => {
        looks.push(performance.now());
        // The first ones are delayed by the compiler.
        return looks.length > 40;
      },
    });
    await stopped(WORK[name]!(stop.signal), undefined);
    // Looks that belong together are one.
    const gaps = looks
      .slice(1)
      .map((time, i) => time - looks[i]!)
      .slice(10);
    const typical = gaps.filter((gap) => gap > 5).sort((a, b) => a - b);
    const median = typical[typical.length >> 1]!;
    assert.ok(median < 150, `${median} ms in between`);
  });
}

test('a timeout is a signal', async () => {
  const error = await stopped(
    sampleAsync(model, latents, chains, { steps: 1_000_000, random, signal: AbortSignal.timeout(50) }).catch(
      (error: AbortError) => {
        assert.is((error.cause as Error).name, 'TimeoutError');
        assert.is(typeof (error.partial as { done: number }).done, 'number');
        throw new AbortError(error.message);
      },
    ),
    undefined,
  );
  assert.match(error.message, /after \d+ of 1000000 steps/);
});

test('a stopped fit is resumed from the state of its last report: the same bits', async () => {
  const options = { iterations: 60 };
  const whole = await EnergyAligner.fit(engine, pairs, options);
  const stop = new AbortController();
  let state: AlignerState | undefined;
  const work = EnergyAligner.fit(engine, pairs, options, {
    every: 20,
    signal: stop.signal,
    onProgress: async (report) => {
      if (report.iteration === 20) stop.abort();
      if (report.iteration >= 20) state = await report.aligner.state();
    },
  });
  await stopped(work, stop.signal);
  const resumed = await EnergyAligner.fit(engine, pairs, options, { resume: state! });
  assert.equal((await resumed.state()).average, (await whole.state()).average);
});

test('a stopped trainer has the losses and the state of the steps that it ran', async () => {
  const stop = new AbortController();
  const trainer = training();
  const work = trainer.run(1000, { signal: stop.signal, onProgress: (done) => done > 5 && stop.abort() });
  const losses = await work.catch(partialOf<Float32Array>);
  assert.is(losses.length, trainer.step);
  assert.ok(losses.length > 5 && losses.length < 1000);
  const rest = await trainer.run(1000 - trainer.step);
  assert.equal([...losses, ...rest], [...(await training().run(1000))]);
});

test('chains moved in pieces are those of sample, also when they are stopped', async () => {
  const options = { steps: 30, random, burnIn: 4, thin: 3, trajectory: true, keepStart: true };
  const read = async ({ latents, acceptance, trajectory }: Chains) =>
    Promise.all(
      [latents, acceptance, trajectory?.points, trajectory?.energies].map(
        async (t) => t && [...(await t.read())],
      ),
    );
  for (const sampler of [chains, langevinSampler({ stepSize: 0.01 })]) {
    const before = engine.memory.inUse;
    const done: number[] = [];
    const onProgress = (steps: number): void => void done.push(steps);
    const pieces = await sampleAsync(model, latents, sampler, { ...options, onProgress });
    const whole = sample(model, latents, sampler, options);
    assert.equal(await read(pieces), await read(whole));
    assert.is(done.at(-1), 30);
    assert.ok(done.length > 2, `${done.length} pieces`);
    for (const part of [pieces, whole])
      for (const t of [part.latents, part.acceptance, part.trajectory?.points, part.trajectory?.energies])
        t?.dispose();
    assert.is(engine.memory.inUse, before);
  }

  const stop = new AbortController();
  const error = await stopped(
    sampleAsync(model, latents, chains, {
      ...options,
      signal: stop.signal,
      onProgress: (steps) => steps > 8 && stop.abort(),
    }),
    stop.signal,
  );
  const partial = error.partial as { done: number; chains: Chains };
  const same = sample(model, latents, chains, { ...options, steps: partial.done });
  assert.equal(await read(partial.chains), await read(same));
});

test('the batches before the signal are kept by who asked for them, and a stopped file is not', async () => {
  const stop = new AbortController();
  const work = async (): Promise<void> => {
    for await (const batch of alignBatches(engine, big, aligner, { signal: stop.signal })) {
      assert.is(batch.old, batch.aligned.length / d);
      stop.abort();
    }
  };
  await stopped(work(), stop.signal);
  const out = join(folder, 'stopped.npy');
  await stopped(alignFile(engine, file, aligner, out, { signal: AbortSignal.abort('x') }), 'x');
  assert.not.ok(existsSync(out));
  assert.equal(readdirSync(folder).sort(), ['big.npy', 'latents.npy']);
});

test('autotune keeps the classes that it has measured', async () => {
  const stop = new AbortController();
  const sizes = [64, 160, 320];
  const work = autotune(
    engine,
    () => {
      for (const n of sizes) matmul(zeros(engine, [n, n]), zeros(engine, [n, n]));
    },
    { time: 5, signal: stop.signal, onProgress: (done) => done === 1 && stop.abort() },
  );
  const error = await stopped(work, stop.signal);
  const measured = error.partial as ClassTimings[];
  assert.is(measured.length, 1);
  assert.ok(measured[0]!.variants.length > 1);
});

test.run();
