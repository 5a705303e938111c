// Every use of a seed draws from the stream named for it: no two take the same, whatever their names say.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { affineMaps } from '../src/data/affine.ts';
import { ImageSamples } from '../src/data/image-samples.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { sample } from '../src/ebm/sample.ts';
import { langevinSampler } from '../src/ebm/unadjusted.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { NoveltyGate, TransformGate } from '../src/eli/gates/all.ts';
import type { GateBatch } from '../src/eli/gates/gate.ts';
import { learnGate } from '../src/eli/gates/learn.ts';
import { MeanShift } from '../src/eli/maps/closed-forms.ts';
import { choosePairs } from '../src/eli/rows.ts';
import { mnistConfig } from '../src/experiments/mnist/config.ts';
import { taskTrainer, twoTaskModel } from '../src/experiments/mnist/two-task.ts';
import { openLatents } from '../src/files/latents.ts';
import { Dropout } from '../src/nn/dropout.ts';
import { Initializer } from '../src/nn/init.ts';
import { Activation, Linear, Sequential } from '../src/nn/layers.ts';
import { mul } from '../src/ops/binary.ts';
import { sum } from '../src/ops/reduce.ts';
import { reshape } from '../src/ops/views.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { full, tensor, zeros } from '../src/tensor/create.ts';
import { permutation } from '../src/tensor/random.ts';
import { STREAM } from '../src/tensor/streams.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { Trainer } from '../src/train/trainer.ts';
import { bars } from './support/bars.ts';
import { temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { saveNpy } from './support/latents.ts';

const engine = await openEngine();
test.after(closeEngine);

type Use = keyof typeof STREAM;
const seed = 7;
const N = 64;
const BATCH = 13;
const samples = new ImageSamples(engine, bars(N, 1));
const flat = new Activation((x) => reshape(x, [x.shape[0]!, -1]));

/** The sample indices that `fn` writes to the device: those of the mini-batch of its one step. */
async function orderOf(fn: () => Promise<unknown>): Promise<number[]> {
  const write = engine.write;
  let order: number[] | undefined;
  engine.write = (...args) => {
    const [, , data] = args;
    if (data instanceof Uint32Array && data.length === BATCH) order ??= [...data];
    write.apply(engine, args);
  };
  try {
    await fn();
  } finally {
    Reflect.deleteProperty(engine, 'write');
  }
  return order!;
}

const task = (number: 1 | 2) => () => {
  const config = mnistConfig({ seed, batch: BATCH, latent: 4 });
  const { net, optimizer } = twoTaskModel(engine, config, 64);
  return taskTrainer(net, optimizer, number, samples, config).run(1);
};

/** The rows that `learnGate` calibrates with. */
async function gateRows(): Promise<number[]> {
  const numbers = Float32Array.from({ length: 2 * N }, (_, i) => (i % 2 === 0 ? i / 2 : i ** 2 % 5));
  const source = await openLatents(saveNpy(temporaryFolder(), 'rows.npy', numbers, 2));
  let rows: number[] = [];
  class Noting extends NoveltyGate {
    override async calibrate({ current }: GateBatch): Promise<void> {
      rows = [...(await current!.readFloats())].filter((_, i) => i % 2 === 0);
    }
  }
  const map = new MeanShift(new Float32Array(2));
  await learnGate(engine, new Noting({ of: 'current' }), source, map, { quantile: 0.5, seed });
  await source.close();
  return rows;
}

const latents = (): Tensor =>
  tensor(
    engine,
    Float32Array.from({ length: 4 * N }, (_, i) => Math.cos(i)),
    [N, 4],
  );

/** Which samples each use of an order takes first, of 64. */
const ORDERS: Partial<Record<Use, () => Promise<number[]>>> = {
  trainOrder: () =>
    orderOf(() => {
      const model = new Sequential([flat, new Linear(new Initializer(engine, 1), 64, 4)]);
      const optimizer = sgd(model.parameters(), { learningRate: 0.1 });
      return new Trainer(model, samples, optimizer, { batch: BATCH, seed }).run(1);
    }),
  task1Order: () => orderOf(task(1)),
  task2Order: () => orderOf(task(2)),
  alignerOrder: () =>
    orderOf(() => {
      const options = { iterations: 1, batch: BATCH, hidden: 8, steps: 1, seed };
      return EnergyAligner.fit(engine, { previous: latents(), current: latents() }, options);
    }),
  transformsOrder: () =>
    orderOf(() => {
      const gate = new TransformGate({ seed, side: 2, pool: 1, hidden: [4], steps: 1, batch: BATCH });
      return gate.fit({ inputs: latents() });
    }),
  pairs: async () => [...choosePairs(N, BATCH, seed)!],
  gateSplit: gateRows,
};

for (const [use, rows] of Object.entries(ORDERS)) {
  test(`order: ${use}`, async () => {
    const order = permutation(N, { seed, stream: STREAM[use as Use], step: 0 }).slice(0, BATCH);
    const got = await rows();
    assert.equal(
      got.toSorted((a, b) => a - b),
      [...order.sort()],
    );
  });
}

const floats = (make: () => Tensor): Promise<Float32Array> => engine.tidy(make).readFloats();
const first = (model: { parameters(): Tensor[] }): Promise<Float32Array> =>
  model.parameters()[0]!.readFloats();

/** What each use draws by default, and with its stream given. */
const DRAWS: Partial<Record<Use, () => Promise<[ArrayLike<number>, ArrayLike<number>]>>> = {
  weights: async () => {
    const config = mnistConfig({ seed, latent: 4 });
    const want = new Linear(new Initializer(engine, seed, STREAM.weights), 64, 4);
    return [await first(twoTaskModel(engine, config, 64).net), await first(want)];
  },
  energy: async () => {
    const options = { iterations: 0, hidden: 8, seed };
    const aligner = await EnergyAligner.fit(
      engine,
      { previous: latents(), current: latents() },
      {
        ...options,
        batch: 8,
      },
    );
    const config = { latent: 4, hidden: 8, layers: 1, slope: 0.2 };
    const want = new EnergyModel(new Initializer(engine, seed, STREAM.energy), config);
    const { model } = await aligner.state();
    return [model['0.weight']!.data, await first(want)];
  },
  transforms: async () => {
    const settings = { seed, side: 2, pool: 1, hidden: [4], steps: 1, learningRate: 0 };
    const gate = new TransformGate(settings);
    await gate.fit({ inputs: latents() });
    const want = new Linear(new Initializer(engine, seed, STREAM.transforms), 4, 4);
    return [gate.state().tensors['0.weight']!.data, await first(want)];
  },
  chains: () => {
    const energy = { energy: (x: Tensor) => sum(mul(x, 0), 1) };
    const draw = (random: { seed: number; stream?: number }) =>
      floats(
        () =>
          sample(energy, zeros(engine, [4, 4]), langevinSampler({ stepSize: 1 }), { steps: 2, random })
            .latents,
      );
    return Promise.all([draw({ seed }), draw({ seed, stream: STREAM.chains })]);
  },
  dropout: () => {
    const draw = (stream?: number) =>
      floats(() => {
        const layer = new Dropout(0.5, { seed, ...(stream !== undefined && { stream }) });
        layer.train(true);
        layer.useStep(zeros(engine, [1], 'u32'));
        return layer.forward(full(engine, [100], 1));
      });
    return Promise.all([draw(), draw(STREAM.dropout)]);
  },
  augmentation: () => {
    const draw = (stream?: number) =>
      floats(() => {
        const random = { seed, ...(stream !== undefined && { stream }) };
        const set = new ImageSamples(engine, bars(N, 1), { augmentation: { flip: 0.5 }, random });
        const index = tensor(
          engine,
          Uint32Array.from({ length: N }, (_, i) => i),
        );
        return set.inputs(index, zeros(engine, [1], 'u32'));
      });
    return Promise.all([draw(), draw(STREAM.augmentation)]);
  },
  affineMaps: async () => {
    const draw = (random: { seed: number; stream?: number }) =>
      affineMaps({ rotation: 30, translation: 2 }, { height: 8, width: 8 }, random, 20);
    return [draw({ seed }), draw({ seed, stream: STREAM.affineMaps })];
  },
};

for (const [use, draws] of Object.entries(DRAWS)) {
  test(`numbers: ${use}`, async () => {
    const [got, want] = await draws();
    assert.equal(Array.from(got), Array.from(want));
  });
}

test('each named stream has its test here; that of principal components has one seed, which nobody chooses', () => {
  assert.equal([...Object.keys(ORDERS), ...Object.keys(DRAWS), 'basis'].sort(), Object.keys(STREAM).sort());
});

test.run();
