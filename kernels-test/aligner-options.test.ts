// What an aligner can do beyond the original: chains that start at closed forms of the pairs, energies kept small.
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EnergyAligner } from '../src/eli/aligner.ts';

import type { LatentPairs } from '../src/eli/fit.ts';
import { fitMap } from '../src/eli/maps/closed-forms.ts';
import { type AlignerOptions, STARTS, type Start } from '../src/eli/options.ts';
import { readSafetensors, writeSafetensors } from '../src/files/safetensors.ts';
import { add, mul, sub } from '../src/ops/binary.ts';
import { matmul } from '../src/ops/matmul.ts';
import { mean } from '../src/ops/reduce.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const folder = temporaryFolder();
test.after(closeEngine);

const WIDTH = 8;
const OPTIONS = { hidden: 32, batch: 32, iterations: 40, steps: 5, seed: 9 } satisfies AlignerOptions;

/** Current latents, and previous ones that are a linear map of them and a little noise. */
function pairsOf(): LatentPairs {
  const normal = (rows: number, stream: number, mean = 0, deviation = 1): Tensor =>
    randomNormal(engine, [rows, WIDTH], { seed: 5, stream }, mean, deviation);
  const current = normal(300, 1);
  return { current, previous: add(add(matmul(current, normal(WIDTH, 2)), 1.5), normal(300, 3, 0, 0.05)) };
}

const fit = (start: Start, pairs: LatentPairs, more: AlignerOptions = {}, hooks = {}) =>
  EnergyAligner.fit(engine, pairs, { ...OPTIONS, ...more, start }, hooks);

async function gap(x: Tensor, y: Tensor): Promise<number> {
  return mean(mul(sub(x, y), sub(x, y))).item();
}

test('a chain of tiny steps stays where it starts: at the closed form of that name', async () => {
  const pairs = pairsOf();
  for (const start of ['mean-shift', 'ridge'] as const) {
    using aligner = await fit(start, pairs, { stepSize: 0 });
    const want = await (await fitMap(start, pairs)).align(pairs.current).readFloats();
    compare(await aligner.align(pairs.current).readFloats(), want, { abs: 0, rel: 0 }, start);
    const { trajectory } = aligner.alignWithTrajectory(pairs.current);
    compare((await trajectory.readFloats()).subarray(0, want.length), want, { abs: 0, rel: 0 }, start);
  }
});

test('pairs that a linear map explains are brought together from the ridge map, not from the latents', async () => {
  const pairs = pairsOf();
  const gaps: Record<string, number> = {};
  for (const start of STARTS) {
    using aligner = await fit(start, pairs);
    gaps[start] = await gap(aligner.align(pairs.current), pairs.previous);
  }
  assert.ok(gaps.ridge! < 0.01, `ridge: ${gaps.ridge}`);
  assert.ok(gaps['mean-shift']! > 1, `mean shift: ${gaps['mean-shift']}`);
  assert.ok(gaps['mean-shift']! < gaps.current!, `${gaps['mean-shift']} against ${gaps.current}`);
});

test('an energy learns from chains that start there, too', async () => {
  const pairs = pairsOf();
  const learnt = async (start: Start): Promise<string> => {
    using aligner = await fit(start, pairs);
    return JSON.stringify(Object.values((await aligner.state()).model));
  };
  assert.is.not(await learnt('ridge'), await learnt('current'));
});

test('plain and fused iterations start at the same places', async () => {
  const pairs = pairsOf();
  const ends: ArrayLike<number>[] = [];
  for (const variant of ['plain', 'auto'] as const) {
    using aligner = await fit('mean-shift', pairs, { variant, iterations: 5 });
    ends.push(await aligner.align(pairs.current).readFloats());
  }
  compare(ends[0]!, ends[1]!, { abs: 2e-3, rel: 2e-3 }, 'aligned');
});

for (const variant of ['plain', 'auto'] as const) {
  test(`${variant}: the average takes in the weights as they are after the step, and is what aligns`, async () => {
    const pairs = pairsOf();
    const weights = async (emaDecay: number, iterations: number) => {
      using aligner = await fit('current', pairs, { variant, emaDecay, iterations, learningRate: 0.01 });
      const { model, average } = await aligner.state();
      const aligned = await aligner.align(pairs.current).readFloats();
      return { model, average, aligned };
    };
    const [before, after, kept] = [await weights(0, 0), await weights(0, 3), await weights(1, 3)];
    assert.equal(after.average, after.model, 'a decay of 0 takes all of the last step');
    assert.equal(kept.average, before.model, 'a decay of 1 keeps the first weights');
    assert.equal(kept.model, after.model);
    assert.equal(kept.aligned, before.aligned);
    assert.not.equal(after.aligned, before.aligned);
  });
}

for (const start of ['mean-shift', 'ridge'] as const) {
  test(`${start}: a saved aligner aligns with the same bits, a resumed fit ends with the same state`, async () => {
    const pairs = pairsOf();
    const path = join(folder, `${start}.safetensors`);
    using whole = await fit(start, pairs);
    await whole.save(path);
    using loaded = await EnergyAligner.load(engine, path);
    assert.equal(await loaded.state(), await whole.state());
    const [want, got] = [whole, loaded].map((a) => a.align(pairs.current));
    assert.equal([...(await got!.readFloats())], [...(await want!.readFloats())]);

    using half = await fit(start, pairs, { iterations: 20 });
    using resumed = await fit(start, pairs, {}, { resume: await half.state() });
    assert.equal(await resumed.state(), await whole.state());
  });
}

test('an unknown start and a file that lacks its map are refused', async () => {
  const pairs = pairsOf();
  await fails(
    () => fit('nowhere' as Start, pairs),
    'CONFIG',
    /start is "nowhere"/,
    /current, ridge, mean-shift/,
  );
  const path = join(folder, 'without.safetensors');
  using aligner = await fit('ridge', pairs, { iterations: 1 });
  await aligner.save(path);
  const { tensors, metadata } = await readSafetensors(path);
  const rest = Object.fromEntries(Object.entries(tensors).filter(([name]) => name !== 'start.bias'));
  await writeSafetensors(path, rest, metadata);
  await fails(
    () => EnergyAligner.load(engine, path),
    'FORMAT',
    /without\.safetensors/,
    /tensor bias of the ridge map is missing/,
  );
});

test('fitting reports as fit does; leaving its loop keeps the aligner as it then stands', async () => {
  const pairs = pairsOf();
  const before = engine.memory.inUse;
  const calls: number[] = [];
  using whole = await fit(
    'current',
    pairs,
    {},
    {
      every: 10,
      onProgress: ({ loss }: { loss: number }) => void calls.push(loss),
    },
  );
  const seen: number[] = [];
  let kept: EnergyAligner | undefined;
  for await (const { iteration, loss, aligner } of EnergyAligner.fitting(engine, pairs, OPTIONS, {
    every: 10,
  })) {
    seen.push(loss);
    kept = aligner;
    if (iteration === 20) break;
  }
  assert.equal(seen, calls.slice(0, 2));
  assert.is(calls.length, 4);
  using half = await fit('current', pairs, { iterations: 20 });
  assert.equal(await kept!.state(), await half.state());
  for (const aligner of [whole, half, kept!]) aligner.dispose();
  assert.is(engine.memory.inUse, before);
});

test('an error in a callback frees what the fit held', async () => {
  const pairs = pairsOf();
  const before = engine.memory.inUse;
  const onProgress = (): never => {
    throw new RangeError('of the user');
  };
  let thrown: unknown;
  await fit('ridge', pairs, {}, { every: 10, onProgress }).catch((error: unknown) => {
    thrown = error;
  });
  assert.instance(thrown, RangeError);
  assert.is(engine.memory.inUse, before);
});

test('energyL2 keeps energies small, and needs the plain iterations', async () => {
  const pairs = pairsOf();
  const sizes: number[] = [];
  for (const energyL2 of [0, 10]) {
    using aligner = await fit('current', pairs, { energyL2, learningRate: 1e-2 });
    const energies = await aligner.energy(pairs.previous).readFloats();
    sizes.push(energies.reduce((sum, e) => sum + e * e, 0) / energies.length);
  }
  assert.ok(sizes[1]! < sizes[0]! / 4, `mean squares ${sizes}`);
  await fails(() => fit('current', pairs, { energyL2: 1, variant: 'hidden' }), 'CONFIG', /no energyL2/);
  await fails(() => fit('current', pairs, { energyL2: -1 }), 'CONFIG', /energyL2 is -1/);
});

test.run();
