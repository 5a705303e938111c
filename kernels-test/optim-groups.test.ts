// Parameter groups and clipping by the norm of all gradients, against the formulas in float64.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { EliError } from '../src/errors.ts';
import { adamw, type ParameterGroup, sgd } from '../src/optim/optimizer.ts';
import { tensor } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

// Sizes that do and do not fill blocks of 64.
const SIZES = [130, 64, 3];
const values = SIZES.map((n, k) => Float32Array.from({ length: n }, (_, i) => Math.sin(i + 10 * k)));
const gradients = SIZES.map((n, k) => Float32Array.from({ length: n }, (_, i) => Math.cos(3 * i + k)));
const onDevice = (lists: Float32Array[]): Tensor[] => lists.map((list) => tensor(engine, list.slice()));
const norm = Math.sqrt(gradients.flatMap((g) => [...g]).reduce((total, v) => total + v * v, 0));

/** Two steps are enough to see momentum; f32 rounds each to a few ulp. */
async function near(parameter: Tensor, want: number[], what: string): Promise<void> {
  const got = await parameter.readFloats();
  got.forEach((v, i) => {
    assert.ok(Math.abs(v - want[i]!) <= 1e-6, `${what}[${i}]: ${v}, should be ${want[i]}`);
  });
}

test('each group has its weight decay and its rate', async () => {
  const [a, b, c] = onDevice(values) as [Tensor, Tensor, Tensor];
  const groups: ParameterGroup[] = [
    { parameters: [a, b] },
    { parameters: [c], weightDecay: 0, rateFactor: 10 },
  ];
  const optimizer = sgd(groups, { learningRate: 0.01, momentum: 0.9, weightDecay: 0.5 });
  for (let step = 0; step < 2; step++) optimizer.step(onDevice(gradients));
  for (const [k, parameter] of [a, b, c].entries()) {
    const [rate, decay] = k === 2 ? [0.1, 0] : [0.01, 0.5];
    const want = Array.from(values[k]!, (start, i) => {
      let [p, m] = [start, 0];
      for (let step = 0; step < 2; step++) {
        m = 0.9 * m + gradients[k]![i]! + decay * p;
        p -= rate * m;
      }
      return p;
    });
    await near(parameter, want, `parameter ${k}`);
  }
  optimizer.dispose();
});

test('decoupled decay of AdamW by group', async () => {
  const [a, , c] = onDevice(values) as [Tensor, Tensor, Tensor];
  const optimizer = adamw([{ parameters: [a] }, { parameters: [c], weightDecay: 0 }], {
    learningRate: 0.01,
    weightDecay: 0.5,
  });
  optimizer.step([tensor(engine, gradients[0]!.slice()), tensor(engine, gradients[2]!.slice())]);
  // The first step of Adam moves by the rate against the gradient's sign.
  const moved = (k: number, decay: number): number[] =>
    Array.from(values[k]!, (p, i) => {
      const g = gradients[k]![i]!;
      return p * (1 - 0.01 * decay) - (0.01 * g) / (Math.abs(g) + 1e-8);
    });
  await near(a, moved(0, 0.5), 'with decay');
  await near(c, moved(2, 0), 'without');
  optimizer.dispose();
});

test('gradients are clipped by the norm of all together, in captured steps too', async () => {
  for (const limit of [0.5, 1e6]) {
    const parameters = onDevice(values);
    const optimizer = sgd(parameters, { learningRate: 1, clipNorm: limit });
    const before = engine.memory.inUse;
    const moving = onDevice(gradients);
    const program = engine.capture(() => optimizer.step(moving));
    program.run(1);
    const factor = Math.min(1, limit / (norm + 1e-6));
    for (const [k, parameter] of parameters.entries()) {
      const want = Array.from(values[k]!, (p, i) => p - factor * gradients[k]![i]!);
      await near(parameter, want, `limit ${limit}, parameter ${k}`);
    }
    // A smaller gradient is measured anew in the next replay.
    for (const [k, g] of moving.entries()) g.write(gradients[k]!.map((v) => v / 1000));
    program.run(1);
    const small = Math.min(1, limit / (norm / 1000 + 1e-6)) / 1000;
    const want = Array.from(values[1]!, (p, i) => p - (factor + small) * gradients[1]![i]!);
    await near(parameters[1]!, want, `limit ${limit}, second step`);
    program.dispose();
    for (const g of moving) g.dispose();
    assert.is(engine.memory.inUse, before, 'nothing is left');
    optimizer.dispose();
  }
});

test('a gradient that is NaN makes the norm NaN, and so all that is clipped by it', async () => {
  const parameters = onDevice(values);
  const optimizer = sgd(parameters, { learningRate: 1, clipNorm: 1 });
  const moving = onDevice(gradients.map((g, k) => g.map((v, i) => (k === 0 && i === 0 ? Number.NaN : v))));
  optimizer.step(moving);
  for (const parameter of parameters) assert.ok((await parameter.readFloats()).every(Number.isNaN));
  for (const g of moving) g.dispose();
  optimizer.dispose();
});

test('a limit that is no positive number is refused', () => {
  for (const clipNorm of [0, -1, Number.NaN]) {
    assert.throws(
      () => sgd(onDevice(values), { learningRate: 1, clipNorm }),
      (e: EliError) => e.code === 'ARGUMENT' && /clipNorm/.test(e.message),
    );
  }
});

test.run();
