// Every exported function that takes a tensor or an engine, with each argument in turn replaced by what people pass by mistake:
// it works, or it throws an EliError. Nested numbers are a tensor; console.log shows one.
import { inspect } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as eli from '../src/index.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const x = eli.randomNormal(engine, [4, 6], { seed: 1 });
const images = eli.randomNormal(engine, [2, 3, 8, 8], { seed: 2 });
const weights = eli.randomNormal(engine, [4, 3, 3, 3], { seed: 3 });
const labels = eli.tensor(engine, Uint32Array.of(0, 1, 2, 3));
const step = eli.zeros(engine, [1], 'u32');
const leaf = eli.randomNormal(engine, [4, 6], { seed: 5 });
leaf.requiresGrad = true;
const model = new eli.EnergyModel(new eli.Initializer(engine, 1), {
  latent: 6,
  hidden: 32,
  layers: 1,
  slope: 0.2,
});
const random = { seed: 1 };

/** Calls that work. */
const CALLS: Readonly<Record<string, readonly unknown[]>> = {
  ...Object.fromEntries(
    [
      'abs',
      'exp',
      'log',
      'sqrt',
      'sigmoid',
      'tanh',
      'relu',
      'softplus',
      'silu',
      'gelu',
      'sign',
      'erf',
      'neg',
      'reciprocal',
      'sum',
      'mean',
      'max',
      'argmax',
      'softmax',
      'logSoftmax',
      'transpose',
      'contiguous',
      'detach',
    ].map((name) => [name, [x]]),
  ),
  ...Object.fromEntries(
    [
      'add',
      'sub',
      'mul',
      'div',
      'pow',
      'maximum',
      'minimum',
      'equal',
      'notEqual',
      'less',
      'lessEqual',
      'greater',
      'greaterEqual',
    ].map((name) => [name, [x, x]]),
  ),
  leakyRelu: [x, 0.1],
  clamp: [x, -1, 1],
  affine: [x, 2, 1],
  where: [x, x, x],
  matmul: [x, eli.transpose(x)],
  linear: [x, eli.randomNormal(engine, [2, 6], { seed: 6 }), eli.zeros(engine, [2])],
  conv2d: [images, weights],
  maxPool2d: [images, 2],
  avgPool2d: [images, 2],
  gather: [x, labels],
  logSumExp: [x],
  oneHot: [labels, 5],
  crossEntropy: [x, labels],
  reshape: [x, [24]],
  permute: [x, [1, 0]],
  slice: [x, 0, 1, 3],
  concat: [[x, x], 0],
  pad: [x, 0, 1, 1],
  cast: [x, 'f32'],
  sum: [x, 0],
  tensor: [engine, [1, 2, 3, 4], [2, 2]],
  zeros: [engine, [2]],
  full: [engine, [2], 1],
  empty: [engine, [2], 'f32'],
  fill: [eli.zeros(engine, [2]), 1],
  randomNormal: [engine, [2], random],
  randomUniform: [engine, [2], random],
  randomBits: [engine, [2], random],
  permutation: [5, random],
  grad: [eli.sum(eli.mul(leaf, leaf)), [leaf]],
  sample: [model, x, eli.langevinSampler({ stepSize: 0.1 }), { steps: 2, random }],
  sampleAsync: [model, x, eli.mala({ stepSize: 0.1 }), { steps: 2, random }],
  langevinSampler: [{ stepSize: 0.1 }],
  mala: [{ stepSize: 0.1 }],
  hmc: [{ stepSize: 0.1, leapfrogSteps: 2 }],
  gradientDescent: [{ stepSize: 0.1 }],
  sgd: [[leaf], { learningRate: 0.1 }],
  adam: [[leaf], { learningRate: 0.1 }],
  rmsprop: [[leaf], { learningRate: 0.1 }],
  takeBatch: [labels, step, 2],
  'EnergyAligner.fit': [engine, { previous: x, current: x }, { batch: 2, iterations: 1 }],
  fitMap: ['ridge', { previous: x, current: x }],
  checkNumerics: [engine, () => undefined],
};

const WRONG = [
  undefined,
  null,
  'abc',
  Number.NaN,
  -1.5,
  {},
  [],
  Float32Array.of(1, 2),
  new BigInt64Array(2),
  [[1, 2], [3]],
];

async function outcome(run: () => unknown): Promise<unknown> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return error;
  }
}

const call = (name: string, args: readonly unknown[]): unknown =>
  name === 'EnergyAligner.fit'
    ? (eli.EnergyAligner.fit as (...args: readonly unknown[]) => unknown)(...args)
    : (eli as unknown as Record<string, (...args: readonly unknown[]) => unknown>)[name]!(...args);

for (const [name, args] of Object.entries(CALLS)) {
  test(`${name}: a wrong argument has an error with a code`, async () => {
    assert.is(await outcome(() => call(name, args)), undefined);
    const raw: string[] = [];
    for (const [i] of args.entries()) {
      for (const wrong of WRONG) {
        const error = await outcome(() => call(name, args.with(i, wrong)));
        if (error !== undefined && !(error instanceof eli.EliError))
          raw.push(`argument ${i} = ${inspect(wrong)}: ${String(error)}`);
      }
    }
    await engine.sync().catch((error: unknown) => raw.push(`sync: ${String(error)}`));
    assert.equal(raw, []);
  });
}

const fails = async (run: () => unknown): Promise<eli.EliError> => {
  const error = await outcome(run);
  assert.instance(error, eli.EliError, String(error));
  return error as eli.EliError;
};

test('nested arrays are a tensor of their shape', async () => {
  const cases: readonly (readonly [eli.TensorData, readonly number[]])[] = [
    [5, []],
    [[1, 2, 3], [3]],
    [
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      [2, 3],
    ],
    [
      [
        [[1], [2]],
        [[3], [4]],
        [[5], [6]],
      ],
      [3, 2, 1],
    ],
    [[Float32Array.of(1, 2), Float32Array.of(3, 4)] as never, [2, 2]],
  ];
  for (const [data, shape] of cases) {
    const made = eli.tensor(engine, data);
    assert.equal(made.shape, shape);
    const want = Array.from({ length: made.size }, (_, i) => (data === 5 ? 5 : i + 1));
    assert.equal([...(await made.read())], want);
  }
  assert.equal(
    eli.tensor(
      engine,
      [
        [1, 2],
        [3, 4],
      ],
      [4],
    ).shape,
    [4],
  );
  const filled = eli.zeros(engine, [2, 2]);
  filled.write([
    [1, 2],
    [3, 4],
  ]);
  assert.equal([...(await filled.read())], [1, 2, 3, 4]);
});

test('what holds no numbers is named, with the place', async () => {
  const of = (data: unknown) => fails(() => eli.tensor(engine, data as never));
  const ragged = await of([[1, 2], [3]]);
  assert.is(ragged.code, 'SHAPE');
  assert.match(ragged.message, /data\[1\] is 1 elements in data of shape \[2, 2\]/);
  assert.match((await of([[1, 2], 3])).message, /data\[1\] is 3/);
  assert.match((await of([1, [2]])).message, /data\[1\] is 1 elements/);
  assert.match((await of([1, 'two', 3])).message, /data\[1\] is "two", must be a number/);
  assert.match(
    (
      await of([
        [1, 2],
        [3, null],
      ])
    ).message,
    /data\[1\]\[1\] is null, must be a number/,
  );
  const big = await of(new BigInt64Array(2));
  assert.is(big.code, 'DTYPE');
  assert.match(big.message, /BigInt64Array.*64 bits\n.*Int32Array\.from\(data, Number\)/);
  assert.match((await of(new Map())).message, /the data is a Map/);
  assert.match((await of(new ArrayBuffer(8))).message, /the data is an ArrayBuffer/);
  const operand = await fails(() => eli.add(x, Float32Array.of(1) as never));
  assert.match(
    operand.message,
    /add: an operand is a Float32Array, must be a tensor\n.*tensor\(engine, data, shape\)/,
  );
  const random = await fails(() => eli.randomNormal(engine, [2], undefined as never));
  assert.is(random.code, 'ARGUMENT');
  assert.match(random.message, /need a seed/);
});

test('console.log of a tensor: dtype, shape and where it lives, no buffers', () => {
  const shown = eli.zeros(engine, [2, 3], 'u32');
  assert.is(inspect(shown), `Tensor(u32 [2, 3] on ${engine.adapter.name})`);
  assert.is(inspect({ shown }), `{ shown: Tensor(u32 [2, 3] on ${engine.adapter.name}) }`);
  shown.dispose();
  assert.match(inspect(shown), /, disposed\)$/);
});

test.run();
