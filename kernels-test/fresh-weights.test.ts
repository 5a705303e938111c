// Fused kernels take the weights as they are at each call, and at each replay: none keeps a copy from an earlier one.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { canRunDeep } from '../src/ebm/deep.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { canRunHidden } from '../src/ebm/hidden.ts';
import { sample } from '../src/ebm/sample.ts';
import { gradientDescent } from '../src/ebm/unadjusted.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { Initializer } from '../src/nn/init.ts';
import { add } from '../src/ops/binary.ts';
import { rmsprop } from '../src/optim/optimizer.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const x = engine.keep(randomNormal(engine, [13, 5], { seed: 3 }));
const modelOf = (seed: number, layers: number): EnergyModel =>
  new EnergyModel(new Initializer(engine, seed), { latent: 5, hidden: 32, layers, slope: 0.2 });

const chain =
  (variant: 'fused' | 'hidden') =>
  (model: EnergyModel): Tensor =>
    sample(model, x, gradientDescent({ stepSize: 0.5 }), { steps: 4, variant }).latents;

/** What computes from the weights of a model, and for how many layers. */
const CALLS: Readonly<Record<string, { layers: number; call: (model: EnergyModel) => Tensor }>> = {
  'energies and gradients': {
    layers: 2,
    call: (model) => {
      const { energy, gradient } = model.energyAndGradient(x);
      return add(gradient, energy.view([13, 1], [1, 1], 0));
    },
  },
  'chains in one workgroup': { layers: 2, call: chain('fused') },
  ...(canRunHidden(engine, modelOf(1, 1).config) && {
    'chains in the hidden layer': { layers: 1, call: chain('hidden') },
  }),
  ...(canRunDeep(engine, modelOf(1, 2).config) && {
    'chains in the first of two hidden layers': { layers: 2, call: chain('hidden') },
  }),
};

for (const [name, { layers, call }] of Object.entries(CALLS)) {
  test(`${name}: another call and a replay see new weights`, async () => {
    const [model, other] = [modelOf(1, layers), modelOf(2, layers)];
    const [first, second] = await Promise.all([model, other].map((m) => call(m).readFloats()));
    assert.not.equal(first, second);
    const program = engine.capture(() => call(model));
    program.run();
    assert.equal(await program.result.readFloats(), first);
    model.loadStateDict(await other.stateDict());
    assert.equal(await call(model).readFloats(), second, 'called again');
    program.run();
    assert.equal(await program.result.readFloats(), second, 'replayed');
    program.dispose();
  });

  test(`${name}: a step of an optimiser moves the weights into one buffer, and changes them there`, async () => {
    const model = modelOf(1, layers);
    const first = await call(model).readFloats();
    const optimizer = rmsprop(model.parameters(), { learningRate: 0.1 });
    assert.equal(await call(model).readFloats(), first, 'moved, but not changed');
    optimizer.step(model.parameters());
    const stepped = await call(model).readFloats();
    assert.not.equal(stepped, first);
    const copy = modelOf(3, layers);
    copy.loadStateDict(await model.stateDict());
    assert.equal(await call(copy).readFloats(), stepped);
    optimizer.dispose();
  });
}

test('an aligner aligns with the average as it is at each report', async () => {
  const pairs = {
    previous: randomNormal(engine, [64, 5], { seed: 4 }),
    current: randomNormal(engine, [64, 5], { seed: 5 }),
  };
  const options = { iterations: 20, batch: 32, steps: 3, hidden: 32, learningRate: 1e-2, emaDecay: 0.5 };
  const seen: Float32Array[] = [];
  using aligner = await EnergyAligner.fit(engine, pairs, options, {
    every: 10,
    onProgress: async ({ aligner: now }) => void seen.push(await now.align(x).readFloats()),
  });
  assert.not.equal(seen[0], seen[1]);
  assert.equal(await aligner.align(x).readFloats(), seen[1]);
});

test.run();
