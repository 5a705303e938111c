// A training step of an MLP 784-32-5 on 128 images: cross-entropy, SGD with momentum. All get their mini-batches
// ready-made; a second line of ours draws its own on the device, as a training does.
import {
  BatchOrder,
  crossEntropy,
  type Engine,
  gather,
  grad,
  Initializer,
  Linear,
  logStep,
  randomNormal,
  relu,
  sgd,
  slice,
  type Tensor,
  takeBatch,
  tensor,
  zeros,
} from '../../src/index.ts';
import type { Comparison, Contender } from './compare.mts';
import { transposed } from './eli-problem.mts';
import { type Jax, type Libraries, OURS, type TensorFlow, type Untyped } from './libraries.mts';
import { mlpSteps } from './mlp-float64.mts';

const [INPUTS, HIDDEN, CLASSES, BATCH, BATCHES] = [784, 32, 5, 128, 8];
const SAMPLES = BATCH * BATCHES;
const CHECKED = 4;
const SGD = { learningRate: 0.1, momentum: 0.9 };

interface Problem {
  readonly images: Float32Array<ArrayBuffer>;
  readonly labels: Uint32Array<ArrayBuffer>;
  /** In PyTorch's layout: [out, in]. */
  readonly weights: readonly Float32Array[];
}

const layersOf = (engine: Engine): [Linear, Linear] => {
  const init = new Initializer(engine, 1);
  return [new Linear(init, INPUTS, HIDDEN), new Linear(init, HIDDEN, CLASSES)];
};

/** What steps changed: one array for each parameter. */
const changes = ({ weights }: Problem, arrays: readonly ArrayLike<number>[]): number[][] =>
  weights.map((w, k) => Array.from(w, (value, i) => arrays[k]![i]! - value));

/** Layers, and what one step does to them. */
function learner(engine: Engine): {
  parameters: readonly Tensor[];
  step: (images: Tensor, labels: Tensor) => Tensor;
} {
  const layers = layersOf(engine);
  const parameters = layers.flatMap((layer) => layer.parameters());
  const optimizer = sgd(parameters, SGD);
  return {
    parameters,
    step: (images, labels) => {
      const loss = crossEntropy(layers[1].forward(relu(layers[0].forward(images))), labels);
      optimizer.step(grad(loss, parameters));
      return loss;
    },
  };
}

/** Steps over mini-batches that lie ready, one after the other. */
function ours(engine: Engine, problem: Problem): Contender {
  const images = tensor(engine, problem.images, [SAMPLES, INPUTS]);
  const labels = tensor(engine, problem.labels);
  const make = () => {
    const { parameters, step } = learner(engine);
    const stepOf = (k: number): void => {
      const [from, to] = [k * BATCH, (k + 1) * BATCH];
      step(slice(images, 0, from, to), slice(labels, 0, from, to));
    };
    const each = Array.from({ length: BATCHES }, (_, k) => engine.capture(() => stepOf(k)));
    const all = engine.capture(() => {
      for (let k = 0; k < BATCHES; k++) engine.tidy(() => stepOf(k));
    });
    const run = (times: number): void => {
      all.run(Math.floor(times / BATCHES));
      for (let k = 0; k < times % BATCHES; k++) each[k]!.run();
    };
    return { parameters, run };
  };
  const timed = make();
  return {
    library: OURS,
    run: async (times) => {
      timed.run(times);
      await engine.sync();
    },
    result: async () => {
      const { parameters, run } = make();
      run(CHECKED);
      return changes(problem, await Promise.all(parameters.map((p) => p.readFloats())));
    },
  };
}

/** Steps that draw their mini-batches on the device, and log their losses there. */
function oursDrawing(engine: Engine, problem: Problem): Contender {
  const images = tensor(engine, problem.images, [SAMPLES, INPUTS]);
  const labels = tensor(engine, problem.labels);
  const make = (indices: Uint32Array) => {
    const { parameters, step } = learner(engine);
    const order = tensor(engine, indices);
    const counter = zeros(engine, [1], 'u32');
    const losses = zeros(engine, [BATCHES]);
    const program = engine.capture(() => {
      const index = takeBatch(order, counter, BATCH);
      logStep(step(gather(images, index), gather(labels, index)), losses, counter);
    });
    return { program, parameters };
  };
  const timed = make(new BatchOrder(SAMPLES, BATCH, { seed: 1, stream: 0 }).take(0, BATCHES));
  return {
    library: `${OURS}, drawing mini-batches`,
    run: async (times) => {
      timed.program.run(times);
      await engine.sync();
    },
    result: async () => {
      const { program, parameters } = make(Uint32Array.from({ length: SAMPLES }, (_, i) => i));
      program.run(CHECKED);
      return changes(problem, await Promise.all(parameters.map((p) => p.readFloats())));
    },
  };
}

/** The peers keep weights [in, out]. */
const peerWeights = ({ weights: [w1, b1, w2, b2] }: Problem): [Float32Array, number[]][] => [
  [transposed(w1!, HIDDEN, INPUTS), [INPUTS, HIDDEN]],
  [b1!, [HIDDEN]],
  [transposed(w2!, CLASSES, HIDDEN), [HIDDEN, CLASSES]],
  [b2!, [CLASSES]],
];
const peerChanges = (problem: Problem, [w1, b1, w2, b2]: readonly Float32Array[]): number[][] =>
  changes(problem, [transposed(w1!, INPUTS, HIDDEN), b1!, transposed(w2!, HIDDEN, CLASSES), b2!]);

function peerBatches({ images, labels }: Problem): { images: Float32Array; hot: Float32Array }[] {
  return Array.from({ length: BATCHES }, (_, k) => {
    const hot = new Float32Array(BATCH * CLASSES);
    for (let i = 0; i < BATCH; i++) hot[i * CLASSES + labels[k * BATCH + i]!] = 1;
    return { images: images.subarray(k * BATCH * INPUTS, (k + 1) * BATCH * INPUTS), hot };
  });
}

async function jaxMlp({ library, lib, use, array }: Jax, problem: Problem): Promise<Contender> {
  const { jit, grad: gradOf, numpy: np, nn, blockUntilReady } = lib;
  await use();
  const batches = peerBatches(problem).map(({ images, hot }) => ({
    x: array(images, [BATCH, INPUTS]),
    y: array(hot, [BATCH, CLASSES]),
  }));
  const loss = ([w1, b1, w2, b2]: Untyped[], x: Untyped, y: Untyped): Untyped => {
    const hidden = nn.relu(np.matmul(x, w1).add(b1));
    const logits = np.matmul(hidden, w2).add(b2);
    return np.sum(nn.logSoftmax(logits).mul(y)).mul(-1 / BATCH);
  };
  const program = jit((p: Untyped[], momenta: Untyped[], x: Untyped, y: Untyped) => {
    const gradients = gradOf((q: Untyped[]) => loss(q, x, y))(p.map((t) => t.ref));
    const next = momenta.map((m, i) => m.mul(SGD.momentum).add(gradients[i]));
    return [p.map((t, i) => t.sub(next[i].ref.mul(SGD.learningRate))), next];
  });
  const start = (): Untyped[][] => {
    const values = peerWeights(problem).map(([data, shape]) => array(data, shape));
    return [values, values.map((v) => np.zerosLike(v.ref))];
  };
  const step = (state: Untyped[][], k: number): Untyped[][] => {
    const { x, y } = batches[k % BATCHES]!;
    return program(...state, x.ref, y.ref);
  };
  let state = start();
  return {
    library,
    run: async (times) => {
      await use();
      for (let k = 0; k < times; k++) state = step(state, k);
      await blockUntilReady(state);
    },
    result: async () => {
      await use();
      let checked = start();
      for (let k = 0; k < CHECKED; k++) checked = step(checked, k);
      const arrays: Float32Array[] = [];
      for (const t of checked[0]!) arrays.push(await t.data());
      return peerChanges(problem, arrays);
    },
  };
}

async function tfMlp({ library, tf, use }: TensorFlow, problem: Problem): Promise<Contender> {
  await use();
  const batches = peerBatches(problem).map(({ images, hot }) => ({
    x: tf.tensor(images, [BATCH, INPUTS]),
    y: tf.tensor(hot, [BATCH, CLASSES]),
  }));
  const start = () => ({
    values: peerWeights(problem).map(([data, shape]) => tf.variable(tf.tensor(data, shape))),
    optimizer: tf.train.momentum(SGD.learningRate, SGD.momentum),
  });
  const step = ({ values, optimizer }: ReturnType<typeof start>, k: number): void => {
    const [w1, b1, w2, b2] = values;
    const { x, y } = batches[k % BATCHES]!;
    optimizer.minimize(
      () => {
        const hidden = tf.relu(tf.add(tf.matMul(x, w1), b1));
        return tf.losses.softmaxCrossEntropy(y, tf.add(tf.matMul(hidden, w2), b2));
      },
      false,
      values,
    );
  };
  const state = start();
  return {
    library,
    run: async (times) => {
      await use();
      for (let k = 0; k < times; k++) step(state, k);
      // The last thing computed: reading it waits for all.
      await state.values[3].data();
    },
    result: async () => {
      await use();
      const checked = start();
      for (let k = 0; k < CHECKED; k++) step(checked, k);
      const arrays: Float32Array[] = [];
      for (const t of checked.values) arrays.push(await t.data());
      return peerChanges(problem, arrays);
    },
  };
}

export async function mlpComparison(libraries: Libraries): Promise<Comparison> {
  const { engine, torch, jaxGpu, jaxWasm, tfGpu, tfWasm } = libraries;
  const layers = layersOf(engine);
  const weights = await Promise.all(layers.flatMap((layer) => layer.parameters()).map((p) => p.readFloats()));
  for (const layer of layers) layer.dispose();
  const images = await randomNormal(engine, [SAMPLES, INPUTS], { seed: 2 }).readFloats();
  const labels = Uint32Array.from({ length: SAMPLES }, (_, i) => i % CLASSES);
  const problem = { images, labels, weights };
  const inputs = {
    w1: { data: weights[0]!, shape: [HIDDEN, INPUTS] },
    b1: { data: weights[1]!, shape: [HIDDEN] },
    w2: { data: weights[2]!, shape: [CLASSES, HIDDEN] },
    b2: { data: weights[3]!, shape: [CLASSES] },
    images: { data: images, shape: [BATCHES, BATCH, INPUTS] },
    labels: { data: Float32Array.from(labels), shape: [BATCHES, BATCH] },
  };
  const pytorch = async (): Promise<Contender | undefined> => {
    const contender = await torch?.contender({
      library: 'PyTorch CPU',
      task: 'mlp',
      options: { steps: CHECKED },
      inputs,
    });
    return contender && { ...contender, result: async () => changes(problem, await contender.result()) };
  };
  return {
    name: 'MLP 784-32-5, training step, batch 128',
    unit: 'steps/s',
    figure: (ms) => 1000 / ms,
    expected: () =>
      changes(problem, mlpSteps(weights, { images, labels }, { ...SGD, batch: BATCH, steps: CHECKED })),
    tolerance: 1e-4,
    contenders: [
      async () => ours(engine, problem),
      async () => oursDrawing(engine, problem),
      () => jaxMlp(jaxGpu, problem),
      () => jaxMlp(jaxWasm, problem),
      () => tfMlp(tfGpu, problem),
      () => tfMlp(tfWasm, problem),
      pytorch,
    ],
  };
}
