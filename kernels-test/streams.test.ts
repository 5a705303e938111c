// No two uses of one seed share random numbers, unless they are given the same stream.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Energy } from '../src/ebm/energy.ts';
import { mala } from '../src/ebm/mala.ts';
import { sample } from '../src/ebm/sample.ts';
import { langevinSampler } from '../src/ebm/unadjusted.ts';
import { Dropout } from '../src/nn/dropout.ts';
import { Initializer } from '../src/nn/init.ts';
import { mul } from '../src/ops/binary.ts';
import { sum } from '../src/ops/reduce.ts';
import { zeros } from '../src/tensor/create.ts';
import { permutation, randomNormal, randomUniform } from '../src/tensor/random.ts';
import { STREAM } from '../src/tensor/streams.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

test('the streams of each use lie apart from those of the others, and from those left to users', () => {
  const firsts = Object.values(STREAM).sort((a, b) => a - b);
  assert.ok(firsts[0]! >= 2 ** 31);
  assert.ok(firsts.at(-1)! + 2 ** 24 <= 2 ** 32);
  for (const [i, first] of firsts.slice(1).entries()) assert.ok(first - firsts[i]! >= 2 ** 24);
});

const SHAPE = [16, 8];
const seed = 1;
/** Everywhere 0, so that chains are nothing but their noise. */
const flat: Energy = { energy: (x) => sum(mul(x, 0), 1) };
const start = (): Tensor => zeros(engine, SHAPE);
const dropout = (): Tensor => {
  const layer = new Dropout(0.5, { seed });
  layer.train(true);
  layer.useStep(zeros(engine, [1], 'u32'));
  return layer.forward(randomUniform(engine, SHAPE, { seed: 9 }, 1, 1.0001));
};
const noise = langevinSampler({ stepSize: 1e-3, noise: 1 });

/** What the defaults of each use of a seed draw, all of one shape: normal numbers, and numbers that grow with uniform ones. */
const NORMAL: Readonly<Record<string, () => Tensor>> = {
  randomNormal: () => randomNormal(engine, SHAPE, { seed }),
  'weights of a network': () => new Initializer(engine, seed).normal(SHAPE, 1),
  'weights of an energy': () => new Initializer(engine, seed, STREAM.energy).normal(SHAPE, 1),
  'noise of a chain': () => sample(flat, start(), noise, { steps: 1, random: { seed } }).latents,
  'proposals of a chain': () =>
    sample(flat, start(), mala({ stepSize: 1e-3 }), { steps: 1, random: { seed } }).latents,
};
const UNIFORM: Readonly<Record<string, () => Tensor>> = {
  randomUniform: () => randomUniform(engine, SHAPE, { seed }),
  'weights of a network': () => new Initializer(engine, seed).uniform(SHAPE, 1),
  dropout,
};

for (const [kind, uses] of Object.entries({ NORMAL, UNIFORM })) {
  test(`${kind.toLowerCase()} numbers of one seed are not those of another use of it`, async () => {
    const draws = new Map<string, boolean[]>();
    for (const [name, draw] of Object.entries(uses)) {
      const values = await engine.tidy(draw).readFloats();
      // Scales differ: which half a number lies in is enough to tell 128 of them apart.
      const middle = values.toSorted()[values.length / 2]!;
      draws.set(
        name,
        Array.from(values, (v) => v >= middle),
      );
    }
    const names = [...draws.keys()];
    for (const [i, a] of names.entries()) {
      for (const b of names.slice(i + 1)) {
        const same = draws.get(a)!.filter((v, k) => v === draws.get(b)![k]).length;
        assert.ok(same > 24 && same < 104, `${a} and ${b}: ${same} of 128 in the same half`);
      }
    }
  });
}

test('orders of one seed differ by use', () => {
  const uses = Object.keys(STREAM).filter((name) =>
    /Order|pairs|Split/.test(name),
  ) as (keyof typeof STREAM)[];
  assert.ok(uses.length >= 7);
  const orders = uses.map((use) => permutation(1000, { seed, stream: STREAM[use] }).join());
  assert.is(new Set(orders).size, uses.length);
});

test('the same stream gives the same numbers to whoever asks for it', async () => {
  const chain = sample(flat, start(), noise, { steps: 1, random: { seed, stream: 5 } }).latents;
  const drawn = randomNormal(engine, SHAPE, { seed, stream: 5 });
  assert.equal(await chain.readFloats(), await drawn.readFloats());
});

test.run();
