// The energy model, the sampler and whole aligner iterations against PyTorch's float64 vectors, each way they can be
// computed.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { canRunDeep } from '../src/ebm/deep.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { sample } from '../src/ebm/sample.ts';
import { gradientDescent } from '../src/ebm/unadjusted.ts';
import { alignerConfig } from '../src/eli/options.ts';
import { AlignerTrainer } from '../src/eli/trainer.ts';
import type { Launch } from '../src/gpu/engine.ts';
import { Initializer } from '../src/nn/init.ts';
import type { StateDict } from '../src/nn/module.ts';
import { sum } from '../src/ops/reduce.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { type GoldenArray, type GoldenCase, goldenCase } from './support/golden.ts';

const engine = await openEngine();
test.after(closeEngine);

const EBM_CASES = [
  'd32_L0_B7',
  'd32_L0_B128',
  'd32_L1_B7',
  'd32_L1_B128',
  'd32_L2_B128',
  'd32_L3_B7',
  'd32_L3_B128',
  'd512_L1_B7',
  'd512_L1_B128',
];

function onDevice(array: GoldenArray): Tensor {
  return tensor(engine, Float32Array.from(array.data), array.shape);
}

/** The values W0, b0, W1, … of a case under the names of our parameters. */
function stateOf(
  model: EnergyModel,
  values: Readonly<Record<string, GoldenArray>>,
  name: (key: string) => string,
): StateDict {
  const state: StateDict = {};
  model.namedParameters().forEach(([parameter], i) => {
    const key = `${i % 2 === 0 ? 'W' : 'b'}${Math.floor(i / 2)}`;
    const value = values[name(key)]!;
    state[parameter] = { shape: value.shape, data: Float32Array.from(value.data) };
  });
  return state;
}

function modelOf(golden: GoldenCase): EnergyModel {
  const { latent, hidden, n_layer: layers } = golden.args;
  const model = new EnergyModel(new Initializer(engine, 1), {
    latent,
    hidden,
    layers,
    slope: golden.args.leaky ?? 0.2,
  });
  model.loadStateDict(stateOf(model, golden.inputs, (key) => key));
  return model;
}

/** f32 sums of up to 512 products; PyTorch's own f32 is off by up to 1e-6 here. */
const ONE_PASS = { abs: 2e-6, rel: 2e-6 };
/** 30 steps add up rounding, and a path may cross a kink of the leaky ReLU a step earlier or later. */
const CHAIN = { abs: 2e-5, rel: 2e-5 };

for (const name of EBM_CASES) {
  const golden = goldenCase(`ebm_${name}`);
  if (golden === undefined) continue;
  test(`ebm ${name}: energy and gradient, fused and by autodiff`, async () => {
    const model = modelOf(golden);
    const x = onDevice(golden.inputs.x!);
    const { energy, gradient } = model.energyAndGradient(x);
    compare(
      (await energy.readFloats()).map((v) => -v),
      golden.outputs.f!.data,
      ONE_PASS,
      'fused f',
    );
    // The largest case carries f and the chain's end only.
    const slope = golden.outputs.dfdx;
    if (slope !== undefined)
      compare(
        (await gradient.readFloats()).map((v) => -v),
        slope.data,
        ONE_PASS,
        'fused df/dx',
      );
    x.requiresGrad = true;
    const f = model.forward(x);
    compare(await f.readFloats(), golden.outputs.f!.data, ONE_PASS, 'f');
    if (slope !== undefined) compare(await grad(sum(f), [x])[0]!.readFloats(), slope.data, ONE_PASS, 'df/dx');
  });
  for (const variant of ['plain', 'fused', 'hidden'] as const) {
    if (variant === 'hidden' && golden.args.n_layer === 0) continue;
    test(`ebm ${name}: Langevin chains, ${variant}`, async () => {
      const model = modelOf(golden);
      const x = onDevice(golden.inputs.x!);
      const sampler = gradientDescent({ stepSize: golden.args.sampler_lr });
      const ends = (steps: number): Tensor => sample(model, x, sampler, { steps, variant }).latents;
      const first = golden.outputs.x1;
      if (first !== undefined) compare(await ends(1).readFloats(), first.data, ONE_PASS, 'x1');
      const end = ends(30);
      compare(await end.readFloats(), golden.outputs.x30!.data, CHAIN, 'x30');
      const f = golden.outputs.f_x30;
      if (f !== undefined) compare(await model.forward(end).readFloats(), f.data, CHAIN, 'f(x30)');
    });
  }
}

const DEEP = EBM_CASES.map((name) => goldenCase(`ebm_${name}`)).find((golden) => golden?.args.n_layer === 2);
if (DEEP !== undefined && canRunDeep(engine, modelOf(DEEP).config)) {
  test('chains of a deep energy by vectors of two', async () => {
    // As on adapters whose subgroups are so wide that a lane has two hidden units.
    const run = engine.run;
    engine.run = (file: never, launch: Launch = file) =>
      run.call(
        engine,
        file,
        file === 'ebm/deep_chain.wgsl'
          ? { ...launch, consts: { ...launch.consts, Pack: 'vec2f', PACK: 2 } }
          : launch,
      );
    try {
      const sampler = gradientDescent({ stepSize: DEEP.args.sampler_lr });
      const options = { steps: 30, variant: 'hidden' } as const;
      const end = sample(modelOf(DEEP), onDevice(DEEP.inputs.x!), sampler, options).latents;
      compare(await end.readFloats(), DEEP.outputs.x30!.data, CHAIN, 'x30');
    } finally {
      engine.run = run;
    }
  });
}

const TRAINING_CASES = ['d32_L0_B16', 'd32_L1_B16', 'd32_L3_B16', 'd32_L1_B128'];

for (const name of TRAINING_CASES) {
  const golden = goldenCase(`eli_train_${name}`);
  if (golden === undefined) continue;
  for (const variant of ['plain', 'auto', 'hidden'] as const) {
    if (variant === 'hidden' && golden.args.n_layer !== 1) continue;
    test(`aligner iterations ${name}, ${variant}`, () => checkTraining(golden, variant));
  }
  if (golden.args.n_layer === 1) {
    test(`aligner iterations ${name}, hidden, without vectors`, () => {
      // As on adapters whose subgroups are so wide that a lane has fewer than four hidden units.
      const run = engine.run;
      engine.run = (file: never, launch: Launch = file) => {
        const scalar = { ...(launch.consts?.Pack && { Pack: 'f32' as const }), PACK: 1 };
        run.call(
          engine,
          file,
          launch.consts?.PACK ? { ...launch, consts: { ...launch.consts, ...scalar } } : launch,
        );
      };
      return checkTraining(golden, 'hidden').finally(() => {
        engine.run = run;
      });
    });
  }
}

async function checkTraining(golden: GoldenCase, variant: 'plain' | 'auto' | 'hidden'): Promise<void> {
  const { latent, hidden, n_layer: layers, batch, iterations, sampler, ema_decay: emaDecay } = golden.args;
  const config = alignerConfig({
    hidden,
    layers,
    batch,
    iterations,
    steps: sampler.steps,
    stepSize: sampler.lr,
    emaDecay,
    variant,
  });
  const trainer = new AlignerTrainer(engine, latent, config);
  const zero = stateOf(trainer.model, golden.inputs, (key) => key);
  const squares: StateDict = Object.fromEntries(
    Object.entries(zero).map(([key, value]) => [
      key,
      { ...value, data: new Float32Array(value.data.length) },
    ]),
  );
  trainer.load({ iteration: 0, losses: new Float32Array(0), model: zero, average: zero, squares });
  const flat = (key: string): Tensor => {
    const array = golden.inputs[key]!;
    return tensor(engine, Float32Array.from(array.data), [iterations * batch, latent]);
  };
  const losses: number[] = [];
  // The vectors give the mini-batches in order; the trainer shuffles, so it is handed the order as it stands.
  const inOrder = Uint32Array.from({ length: iterations * batch }, (_, i) => i);
  const pairs = { previous: flat('prev_z'), current: flat('current_z') };
  for await (const { iteration, loss } of trainer.run(pairs, { every: 1, order: inOrder })) {
    losses.push(loss);
    if (iteration !== 1) continue;
    const state = await trainer.state();
    // After one iteration f32 and float64 agree to 7e-7 (RMSprop divides by the root of what it has just squared).
    const expect = (part: 'model' | 'average' | 'squares', prefix: string) => {
      const want = stateOf(trainer.model, golden.outputs, (key) => `${prefix}${key}_it1`);
      for (const [i, [key, value]] of Object.entries(state[part]).entries()) {
        // Where the gradient is zero in float64 (always that of the output bias, and of hidden units that are on
        // or off for every sample) rounding noise becomes a full step: those elements say nothing.
        const gradient = golden.outputs[`g${i % 2 === 0 ? 'W' : 'b'}${Math.floor(i / 2)}_0`]?.data;
        for (let k = 0; k < value.data.length; k++) {
          if (gradient === undefined || Math.abs(gradient[k]!) < 1e-9) value.data[k] = want[key]!.data[k]!;
        }
        compare(
          value.data,
          want[key]!.data,
          part === 'squares' ? { abs: 1e-9, rel: 1e-4 } : { abs: 2e-6, rel: 2e-6 },
          `${part} ${key}`,
        );
      }
    };
    expect('model', '');
    expect('average', 'ema');
    expect('squares', 'sq');
  }
  assert.is(losses.length, iterations);
  // What the model does stays comparable after its least certain weights have drifted apart.
  compare(losses, golden.outputs.losses!.data, { abs: 2e-4, rel: 2e-4 }, 'losses');
}

test.run();
