// Residual networks: one training step of ResNet-20 against the float64 references, names and shapes of the state
// dict, modes, memory.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { Initializer } from '../src/nn/init.ts';
import { type RESNETS, ResNet } from '../src/nn/resnet.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { fails } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { inFloat64 } from './support/float64.ts';

const engine = await openEngine();
test.after(closeEngine);

for (const cosine of [false, true]) {
  test(`a training step of ResNet-20${cosine ? ", LUCIR's variant," : ''} against float64`, async () => {
    const model = new ResNet(new Initializer(engine, 1), 'resnet20', { classes: 10, cosine });
    const images = randomNormal(engine, [3, 3, 12, 12], { seed: 2 });
    const labels = tensor(engine, Uint32Array.of(3, 0, 7));
    const names = model.namedParameters().map(([name]) => name);
    const parameters = model.parameters();
    const loss = () => crossEntropy(model.forward(images), labels);
    // The device's own backward pass is made of kernels; float64 follows the one that is made of ops.
    const value = loss();
    const gradients = grad(value, parameters);
    const [want, ...wanted] = await inFloat64(() => {
      const again = loss();
      return [again, ...grad(again, parameters, { createGraph: true })];
    });
    const [got] = await value.readFloats();
    assert.ok(Math.abs(got! - want!.data[0]!) < 1e-5, `loss ${got}, should be ${want!.data[0]}`);
    for (const [i, name] of names.entries()) {
      const values = await gradients[i]!.readFloats();
      const reference = wanted[i]!.data;
      const [error, size] = [values.map((v, k) => v - reference[k]!), reference].map((v) => Math.hypot(...v));
      // A ReLU within rounding of its kink may go either way: none does here.
      // The scale's gradient is one number, a difference of larger ones: it has 1e-6 of rounding.
      assert.ok(error! <= 1e-3 * size! + 1e-6, `${name}: gradient off by ${error! / size!} of its norm`);
    }
    model.dispose();
  });
}

test('parameters have the names and shapes of torchvision', () => {
  const shapes = (name: (typeof RESNETS)[number], classes: number): [Map<string, string>, number] => {
    const model = new ResNet(new Initializer(engine, 1), name, { classes });
    const tensors = new Map(model.namedTensors().map(([key, t]) => [key, t.shape.join('×')]));
    const count = model.parameters().reduce((total, p) => total + p.size, 0);
    model.dispose();
    return [tensors, count];
  };
  const [large, count] = shapes('resnet50', 1000);
  // torchvision.models.resnet50: 25,557,032 parameters.
  assert.is(count, 25_557_032);
  for (const [name, shape] of [
    ['conv1.weight', '64×3×7×7'],
    ['bn1.running_var', '64'],
    ['bn1.num_batches_tracked', ''],
    ['layer1.0.downsample.0.weight', '256×64×1×1'],
    ['layer1.0.downsample.1.bias', '256'],
    ['layer4.2.conv3.weight', '2048×512×1×1'],
    ['fc.weight', '1000×2048'],
    ['fc.bias', '1000'],
  ] as const) {
    assert.is(large.get(name), shape, name);
  }
  assert.is(large.size, 320, "as many entries as torchvision's");
  assert.is(shapes('resnet18', 1000)[1], 11_689_512);
  // He et al., CVPR 2016, table 6: 0.27 M and 0.46 M, 1.7 M.
  assert.is(shapes('resnet20', 10)[1], 269_722);
  assert.is(shapes('resnet32', 10)[1], 464_154);
  assert.is(shapes('resnet110', 10)[1], 1_727_962);
});

test('the large networks halve the image five times and give named features', () => {
  engine.tidy(() => {
    const model = new ResNet(new Initializer(engine, 1), 'resnet18', { classes: 7 });
    const { stages, pooled } = model.features(randomNormal(engine, [1, 3, 64, 64], { seed: 1 }));
    assert.equal(Object.keys(stages), ['layer1', 'layer2', 'layer3', 'layer4']);
    assert.equal([...stages.layer4!.shape], [1, 512, 2, 2]);
    assert.equal([...pooled.shape], [1, 512]);
    model.dispose();
  });
});

test('a state dict goes over, and one that does not fit is refused with a full list', async () => {
  const [a, b] = [1, 2].map((seed) => new ResNet(new Initializer(engine, seed), 'resnet20', { classes: 4 }));
  const x = randomNormal(engine, [2, 3, 8, 8], { seed: 3 });
  a!.forward(x);
  const state = await a!.stateDict();
  b!.loadStateDict(state);
  a!.train(false);
  b!.train(false);
  assert.equal([...(await b!.forward(x).readFloats())], [...(await a!.forward(x).readFloats())]);
  const { 'fc.bias': _, ...less } = state;
  await fails(
    () =>
      b!.loadStateDict({
        ...less,
        'fc.weight': { shape: [5, 64], data: new Float32Array(320) },
        'layer9.weight': { shape: [1], data: new Float32Array(1) },
      }),
    'SHAPE',
    /missing: fc\.bias \[4\]/,
    /fc\.weight: is \[5, 64\], should be \[4, 64\]/,
    /unknown: layer9\.weight/,
  );
  a!.dispose();
  b!.dispose();
});

test('a captured training step keeps what backward needs and little more; replays take nothing', async () => {
  const batch = 8;
  const model = new ResNet(new Initializer(engine, 1), 'resnet32', { classes: 10 });
  const optimizer = sgd(model.parameters(), { learningRate: 0.1, momentum: 0.9 });
  const images = randomNormal(engine, [batch, 3, 32, 32], { seed: 2 });
  const labels = tensor(
    engine,
    Uint32Array.from({ length: batch }, (_, i) => i),
  );
  const before = engine.memory.bytesInUse;
  const program = engine.capture(() => {
    const loss = crossEntropy(model.forward(images), labels);
    optimizer.step(grad(loss, optimizer.flat.parameters));
    return loss;
  });
  const bytes = engine.memory.bytesInUse - before;
  // Backward needs the input of every convolution and every normalisation: two maps of each of the 31 layers, in stages
  // of 16 × 32², 32 × 16² and 64 × 8² values an image. Gradients of the parameters are as large as they are.
  const maps = 2 * (11 * 16 * 32 ** 2 + 10 * 32 * 16 ** 2 + 10 * 64 * 8 ** 2) * batch * 4;
  const needed = maps + 4 * optimizer.flat.values.size;
  assert.ok(bytes <= 1.5 * needed, `${bytes} bytes are ${(bytes / needed).toFixed(2)} of what is needed`);
  program.run(1);
  await engine.sync();
  const { buffers, bytes: held } = engine.memory;
  for (let step = 0; step < 5; step++) program.run(1);
  await engine.sync();
  assert.equal([engine.memory.buffers, engine.memory.bytes], [buffers, held]);
  program.dispose();
  optimizer.dispose();
});

test('wrong names and classes are refused', async () => {
  const init = new Initializer(engine, 1);
  const make = (name: string, classes: number) => () => new ResNet(init, name as 'resnet20', { classes });
  await fails(make('resnet21', 10), 'ARGUMENT', /unknown network resnet21/, /resnet20/);
  await fails(make('constructor', 10), 'ARGUMENT', /unknown network/);
  await fails(make('resnet20', 0), 'ARGUMENT', /classes is 0/);
});

test.run();
