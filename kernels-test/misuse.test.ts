// Wrong use gets an error that says what was done, and the engine works on.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { EnergyModel } from '../src/ebm/energy-model.ts';
import { sample } from '../src/ebm/sample.ts';
import { gradientDescent, langevinSampler } from '../src/ebm/unadjusted.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { EliError } from '../src/errors.ts';
import { writeSafetensors } from '../src/files/safetensors.ts';
import { Engine } from '../src/gpu/engine.ts';
import { Initializer } from '../src/nn/init.ts';
import { add } from '../src/ops/binary.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { matmul } from '../src/ops/matmul.ts';
import { sum } from '../src/ops/reduce.ts';
import { relu } from '../src/ops/unary.ts';
import { slice } from '../src/ops/views.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { randomBits, randomNormal } from '../src/tensor/random.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const other = await Engine.create();
const folder = mkdtempSync(join(tmpdir(), 'eli-misuse-'));
test.after(async () => {
  rmSync(folder, { recursive: true });
  other.dispose();
  await closeEngine();
});

const model = new EnergyModel(new Initializer(engine, 1), { latent: 4, hidden: 32, layers: 1, slope: 0.2 });
const descent = gradientDescent({ stepSize: 0.1 });
const noisy = langevinSampler({ stepSize: 0.1 });

async function refused(code: string, part: RegExp, run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, EliError, String(error));
    assert.is((error as EliError).code, code, String(error));
    assert.match((error as EliError).message, part);
    // Nothing is left behind: the engines go on.
    await engine.sync();
    await other.sync();
    return;
  }
  assert.unreachable('no error');
}

test('operands of another engine', async () => {
  const foreign = zeros(other, [3, 4]);
  for (const variant of ['plain', 'fused', 'hidden'] as const) {
    await refused('WRONG_ENGINE', /engine/, () => sample(model, foreign, descent, { steps: 2, variant }));
  }
  await refused('WRONG_ENGINE', /engine/, () => model.energyAndGradient(foreign));
  const parameter = zeros(engine, [3]);
  parameter.requiresGrad = true;
  await refused('WRONG_ENGINE', /engine/, () =>
    sgd([parameter], { learningRate: 1 }).step([zeros(other, [3])]),
  );
  const step = zeros(engine, [1], 'u32');
  await refused('WRONG_ENGINE', /engine/, () => randomBits(other, [4], { seed: 1, step }));
});

test('a forgotten await is called one', async () => {
  const x = zeros(engine, [3]);
  const promise = x.readFloats();
  const hint = /is a promise\n {2}→ is an `await` missing/;
  await refused('ARGUMENT', /^add: an operand is a promise/, () => add(x, promise as never));
  await refused('ARGUMENT', /^matmul: an operand/, () => matmul(promise as never, x));
  await refused('ARGUMENT', /^tensor: the data/, () => tensor(engine, promise as never));
  await refused('ARGUMENT', /^tensor.write: the data/, () => x.write(promise as never));
  const forgotten = Engine.create();
  await refused('ARGUMENT', hint, () => zeros(forgotten as never, [1]));
  (await forgotten).dispose();
  await promise;
});

test('an engine disposed while it is read: what was under way is said', async () => {
  const short = await Engine.create();
  const x = zeros(short, [1000]);
  const pending = [x.read(), short.sync()];
  short.dispose();
  const [read, sync] = await Promise.allSettled(pending);
  for (const [end, what] of [
    [read, /disposed before a tensor was read\n.*await pending work/],
    [sync, /disposed before the work was done/],
  ] as const) {
    await refused('DISPOSED', what, () => {
      throw (end as PromiseRejectedResult).reason;
    });
  }
});

test('results of a captured program, and views of them, once it is disposed', async () => {
  const x = zeros(engine, [2, 3]);
  const program = engine.capture(() => add(x, 1));
  const view = slice(program.result, 0, 0, 1);
  program.run();
  assert.is((await view.readFloats())[0], 1);
  program.dispose();
  program.dispose();
  for (const t of [program.result, view])
    await refused('DISPOSED', /the captured program of this tensor \(shape \[\d, 3\]\) was disposed/, () =>
      t.read(),
    );
  await refused('DISPOSED', /captured program/, () => add(view, 1));
});

test('disposing of things after their engine, and twice', async () => {
  const short = await Engine.create();
  const x = zeros(short, [10]);
  const program = short.capture(() => add(x, 1));
  program.run();
  short.dispose();
  await refused('DISPOSED', /this engine was disposed/, () => program.run());
  await refused('DISPOSED', /the engine of this tensor \(shape \[10\]\)/, () => x.read());
  for (let i = 0; i < 2; i++) for (const item of [program, x, short]) item.dispose();
  const { buffers, bytes, inUse, bytesInUse } = short.memory;
  assert.equal([buffers, bytes, inUse, bytesInUse], [0, 0, 0, 0]);
});

test('wrong dtypes', async () => {
  const parameter = zeros(engine, [3]);
  parameter.requiresGrad = true;
  const step = () => sgd([parameter], { learningRate: 1 }).step([zeros(engine, [3], 'u32')]);
  await refused('DTYPE', /optimizer.step needs f32, got u32/, step);
  const latents = zeros(engine, [200, 4], 'u32');
  await refused('DTYPE', /fit needs f32, got u32/, () =>
    EnergyAligner.fit(engine, { previous: latents, current: latents }),
  );
});

test('a broken kernel is reported at each launch', async () => {
  const file = join(folder, 'broken.wgsl');
  writeFileSync(
    file,
    '@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n\n@compute @workgroup_size(1)\nfn main() {\n  y[0] = 1u;\n}\n',
  );
  for (let i = 0; i < 2; i++) {
    await refused('WGSL', /broken\.wgsl:5:\d+/, async () => {
      engine.run(file, { storages: [zeros(engine, [1]).storage], groups: [1] });
      await engine.sync();
    });
  }
});

test('bad options of chains, seeds and fits', async () => {
  const x = zeros(engine, [3, 4]);
  await refused('ARGUMENT', /clamp is \[1, -1\]/, () =>
    sample(model, x, descent, { steps: 2, clamp: [1, -1] }),
  );
  await refused('ARGUMENT', /clamp\[0\] is NaN/, () =>
    sample(model, x, descent, { steps: 2, clamp: [Number.NaN, 1] }),
  );
  for (const seed of [-1, 0.5, Number.NaN]) {
    await refused('ARGUMENT', /seed/, () => randomBits(engine, [1], { seed }));
    await refused('ARGUMENT', /seed/, () => sample(model, x, noisy, { steps: 2, random: { seed } }));
  }
  const pairs = { previous: zeros(engine, [8, 4]), current: zeros(engine, [8, 4]) };
  const options = { batch: 4, iterations: 2 };
  await refused('ARGUMENT', /every is 1.5/, () => EnergyAligner.fit(engine, pairs, options, { every: 1.5 }));
  const order = Uint32Array.of(0, 1, 2, 3, 4, 5, 6, 8);
  await refused('ARGUMENT', /order must hold 8 indices below 8/, () =>
    EnergyAligner.fit(engine, pairs, options, { order }),
  );
  await refused('ARGUMENT', /it has 7/, () =>
    EnergyAligner.fit(engine, pairs, options, { order: order.subarray(0, 7) }),
  );
});

test('an aligner file without its sizes', async () => {
  const file = join(folder, 'aligner.safetensors');
  await writeSafetensors(file, {}, { format: 'eli-webgpu aligner', config: '{}' });
  await refused(
    'FORMAT',
    /aligner\.safetensors is not a complete eli-webgpu aligner: latent is missing, must be a whole number/,
    () => EnergyAligner.load(engine, file),
  );
});

test('energyAndGradient of a strided view leaves no buffer behind', () => {
  const wide = zeros(engine, [4, 3]);
  const before = engine.memory.inUse;
  const strided = wide.view([3, 4], [1, 3], 0);
  const { energy, gradient } = model.energyAndGradient(strided);
  for (const t of [energy, gradient, strided]) t.dispose();
  assert.is(engine.memory.inUse, before);
});

test('latents and targets that are views into larger tensors', async () => {
  const wide = randomNormal(engine, [48, 4], { seed: 3 });
  const late = slice(wide, 0, 16, 48);
  const copy = tensor(engine, await late.readFloats(), [32, 4]);
  const options = { hidden: 32, batch: 8, iterations: 4 };
  const ends = [];
  for (const current of [late, copy]) {
    const aligner = await EnergyAligner.fit(engine, { previous: current, current }, options);
    ends.push(await aligner.align(current).readFloats());
    aligner.dispose();
  }
  assert.equal(ends[0], ends[1], 'a slice fits and aligns like its copy');

  const logits = randomNormal(engine, [3, 5], { seed: 4 });
  const column = slice(tensor(engine, Uint32Array.of(4, 0, 1, 0, 2, 0), [3, 2]), 1, 0, 1);
  const strided = column.view([3], [2], column.offset);
  const dense = tensor(engine, Uint32Array.of(4, 1, 2));
  assert.is(await crossEntropy(logits, strided).item(), await crossEntropy(logits, dense).item());
});

test('a gradient through piecewise constant functions is zero, not an error', async () => {
  const x = tensor(engine, [1, -2, 3]);
  x.requiresGrad = true;
  const [g] = grad(sum(relu(x)), [x], { createGraph: true });
  assert.equal([...(await grad(sum(g!), [x])[0]!.readFloats())], [0, 0, 0]);
});

test.run();
