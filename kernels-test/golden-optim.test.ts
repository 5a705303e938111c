// Optimisers against PyTorch's float64 vectors step by step, rules that PyTorch's vectors lack against their formula,
// and the two-task learning of ELI's notebook from its first to its last step.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { FlatParameters } from '../src/nn/flat.ts';
import { Initializer } from '../src/nn/init.ts';
import { Activation, Linear, Sequential } from '../src/nn/layers.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { matmul } from '../src/ops/matmul.ts';
import { sum } from '../src/ops/reduce.ts';
import { relu } from '../src/ops/unary.ts';
import { transpose } from '../src/ops/views.ts';
import { Ema } from '../src/optim/ema.ts';
import { adam, adamw, type Optimizer, rmsprop, sgd } from '../src/optim/optimizer.ts';
import { tensor, zeros } from '../src/tensor/create.ts';
import { bitsAt } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { compare } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { type GoldenArray, goldenCase } from './support/golden.ts';

const engine = await openEngine();
test.after(closeEngine);

/** Eight steps on numbers up to 5 add up some ten roundings of 6e-8 each; PyTorch's own f32 is off by 6e-7. */
const STEPS = { abs: 1e-6, rel: 1e-6 };
/** Squared gradients are small: their error counts relative to them. */
const SQUARES = { abs: 1e-10, rel: 2e-6 };

/** Six numbers as two parameters, so that a gradient has to find its place. */
const PARTS = [
  [0, 4],
  [4, 6],
] as const;

function split(values: ArrayLike<number>): Tensor[] {
  return PARTS.map(([from, to]) => tensor(engine, Float32Array.from(values).subarray(from, to)));
}

/** Of a tensor in the layout of the optimiser: the six numbers again. */
async function joined(optimizer: Optimizer, flat: Tensor): Promise<number[]> {
  const all = await flat.readFloats();
  return PARTS.flatMap(([from, to], i) => {
    const at = optimizer.flat.offsets[i]!;
    return [...all.subarray(at, at + to - from)];
  });
}

const row = (array: { readonly data: Float64Array }, k: number): Float64Array =>
  array.data.subarray(6 * k, 6 * k + 6);

interface Rule {
  // biome-ignore lint/suspicious/noExplicitAny: each rule has arguments of its own
  readonly make: (parameters: readonly Tensor[], args: any) => Optimizer;
  /** Which output is the final value of which state. */
  readonly momentum?: string;
  readonly squares?: string;
}

const SGD: Rule = {
  make: (p, a) => sgd(p, { learningRate: a.lr, momentum: a.momentum ?? 0, weightDecay: a.weight_decay ?? 0 }),
};
const SGD_MOMENTUM: Rule = { ...SGD, momentum: 'state_momentum_buffer' };
const ADAM: Rule = {
  make: (p, a) =>
    adam(p, { learningRate: a.lr, betas: a.betas, epsilon: a.eps, weightDecay: a.weight_decay ?? 0 }),
  momentum: 'state_exp_avg',
  squares: 'state_exp_avg_sq',
};
const RULES: Readonly<Record<string, Rule>> = {
  sgd_plain: SGD,
  sgd_momentum: SGD_MOMENTUM,
  sgd_momentum_wd: SGD_MOMENTUM,
  adam: ADAM,
  adam_wd: ADAM,
  rmsprop: {
    make: (p, a) => rmsprop(p, { learningRate: a.lr, alpha: a.alpha, epsilon: a.eps }),
    squares: 'state_square_avg',
  },
};

for (const [name, rule] of Object.entries(RULES)) {
  const golden = goldenCase(name);
  if (golden === undefined) continue;
  test(`${name}: every step and the state at the end`, async () => {
    const { inputs, outputs, args } = golden;
    const parameters = split(inputs.p!.data);
    const optimizer = rule.make(parameters, args);
    for (let k = 0; k < 8; k++) {
      if (k === 5 && args.lr_after_5 !== undefined) optimizer.learningRate = args.lr_after_5;
      optimizer.step(split(row(inputs.grads!, k)));
      const got = await Promise.all(parameters.map((p) => p.readFloats()));
      compare(
        got.flatMap((p) => [...p]),
        row(outputs.p!, k),
        STEPS,
        `p after step ${k + 1}`,
      );
    }
    if (rule.momentum !== undefined) {
      const momentum = await joined(optimizer, optimizer.state.momentum);
      compare(momentum, outputs[rule.momentum]!.data, STEPS, rule.momentum);
    }
    if (rule.squares !== undefined) {
      const squares = await joined(optimizer, optimizer.state.squares);
      compare(squares, outputs[rule.squares]!.data, SQUARES, rule.squares);
    }
  });
}

/** Float32-exact numbers in ±1. */
const numbers = (stream: number): number[] =>
  Array.from({ length: 6 }, (_, i) => Math.fround(bitsAt({ seed: 5, stream }, i) / 2 ** 31 - 1));

/** Ten steps of `optimizer` against `formula`, which updates element i of `p` in float64. */
async function against(
  make: (parameters: readonly Tensor[]) => Optimizer,
  formula: (p: number[], i: number, g: number, step: number) => void,
): Promise<void> {
  const p = numbers(0);
  const parameters = split(p);
  const optimizer = make(parameters);
  for (let step = 1; step <= 10; step++) {
    const g = numbers(step);
    optimizer.step(split(g));
    g.forEach((value, i) => {
      formula(p, i, value, step);
    });
    compare(await joined(optimizer, optimizer.flat.values), p, STEPS, `p after step ${step}`);
  }
}

test('AdamW: decay of the weights apart from the gradient', () => {
  const m = new Array<number>(6).fill(0);
  const v = new Array<number>(6).fill(0);
  return against(
    (p) => adamw(p, { learningRate: 0.05, betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0.3 }),
    (p, i, g, step) => {
      p[i]! *= 1 - 0.05 * 0.3;
      m[i] = 0.8 * m[i]! + 0.2 * g;
      v[i] = 0.95 * v[i]! + 0.05 * g * g;
      p[i]! -= (0.05 * (m[i]! / (1 - 0.8 ** step))) / (Math.sqrt(v[i]! / (1 - 0.95 ** step)) + 1e-6);
    },
  );
});

test('SGD with Nesterov momentum and weight decay', () => {
  const buffer = new Array<number>(6).fill(0);
  return against(
    (p) => sgd(p, { learningRate: 0.1, momentum: 0.9, weightDecay: 0.05, nesterov: true }),
    (p, i, g) => {
      const d = g + 0.05 * p[i]!;
      buffer[i] = 0.9 * buffer[i]! + d;
      p[i]! -= 0.1 * (d + 0.9 * buffer[i]!);
    },
  );
});

test('RMSprop with momentum and weight decay', () => {
  const buffer = new Array<number>(6).fill(0);
  const v = new Array<number>(6).fill(0);
  return against(
    (p) => rmsprop(p, { learningRate: 0.01, alpha: 0.9, momentum: 0.5, weightDecay: 0.1, epsilon: 1e-3 }),
    (p, i, g) => {
      const d = g + 0.1 * p[i]!;
      v[i] = 0.9 * v[i]! + 0.1 * d * d;
      buffer[i] = 0.5 * buffer[i]! + d / (Math.sqrt(v[i]!) + 1e-3);
      p[i]! -= 0.01 * buffer[i]!;
    },
  );
});

test('EMA: starts as a copy and follows the parameters', async () => {
  const flat = new FlatParameters(split(numbers(0)));
  const ema = new Ema(flat, 0.9);
  const want = numbers(0);
  for (let step = 1; step <= 5; step++) {
    const values = numbers(step);
    flat.parameters.forEach((p, i) => {
      p.write(values.slice(...PARTS[i]!));
    });
    ema.update();
    values.forEach((value, i) => {
      want[i] = 0.9 * want[i]! + 0.1 * value;
    });
    const all = await ema.average.readFloats();
    const got = PARTS.flatMap(([from, to], i) => [
      ...all.subarray(flat.offsets[i]!, flat.offsets[i]! + to - from),
    ]);
    compare(got, want, STEPS, `average after update ${step}`);
  }
});

test('seven parameters of odd sizes: each gradient finds its own', async () => {
  const sizes = [1, 7, 64, 65, 3, 129, 2];
  const parameters = sizes.map((n) => zeros(engine, [n]));
  const optimizer = sgd(parameters, { learningRate: 1 });
  const gradients = sizes.map((n, i) =>
    tensor(
      engine,
      Float32Array.from({ length: n }, (_, k) => 1000 * i + k),
    ),
  );
  optimizer.step(gradients);
  for (const [i, p] of parameters.entries()) {
    const want = Array.from({ length: sizes[i]! }, (_, k) => 0 - (1000 * i + k));
    compare(await p.readFloats(), want, { abs: 0, rel: 0 }, `parameter ${i}`);
  }
});

const linearCase = goldenCase('linear');
if (linearCase !== undefined) {
  test('gradients that are views (transposed, expanded) reach their parameters', async () => {
    const { inputs, outputs } = linearCase;
    const onDevice = (array: GoldenArray): Tensor =>
      tensor(engine, Float32Array.from(array.data), array.shape);
    const [w, b] = [onDevice(inputs.w!), onDevice(inputs.b!)];
    const optimizer = sgd([w, b], { learningRate: 1 });
    w.requiresGrad = true;
    b.requiresGrad = true;
    const before = engine.memory.inUse;
    engine.tidy(() => {
      // The gradient of a transposed matrix is a transposed view, that of a sum an expanded number.
      const y = matmul(onDevice(inputs.x!), transpose(w));
      const [gw] = grad(y, [w], { gradOutput: onDevice(inputs.gy!) });
      const [gb] = grad(sum(b), [b]);
      assert.ok(!gw!.isContiguous || !gb!.isContiguous, 'the case is about views');
      optimizer.step([gw!, gb!]);
    });
    assert.is(engine.memory.inUse, before);
    const want = Array.from(inputs.w!.data, (v, i) => v - outputs.gw!.data[i]!);
    compare(await w.readFloats(), want, STEPS, 'w');
    const less = Array.from(inputs.b!.data, (v) => v - 1);
    compare(await b.readFloats(), less, STEPS, 'b');
  });
}

const twoTask = goldenCase('notebook_two_task_sgd');
if (twoTask !== undefined) {
  test('two tasks through one SGD: head 1 drifts by momentum, head 2 stays', async () => {
    const { inputs, outputs, args } = twoTask;
    const init = new Initializer(engine, 1);
    const base = new Sequential([new Linear(init, 10, 8), new Activation(relu)]);
    const heads = [new Linear(init, 8, 5), new Linear(init, 8, 5)] as const;
    const value = (array: GoldenArray) => ({ shape: array.shape, data: Float32Array.from(array.data) });
    base.loadStateDict({ '0.weight': value(inputs.baseW!), '0.bias': value(inputs.baseb!) });
    heads.forEach((head, i) => {
      head.loadStateDict({
        weight: value(inputs[`h${i + 1}W`]!),
        bias: value(inputs[`h${i + 1}b`]!),
      });
    });
    const parameters = [...base.parameters(), ...heads[0].parameters()];
    const optimizer = sgd(parameters, { learningRate: args.lr, momentum: args.momentum });
    const losses: number[] = [];
    const expect = async (key: string, parameter: Tensor): Promise<void> =>
      compare(await parameter.readFloats(), outputs[key]!.data, STEPS, key);
    for (const task of [1, 2] as const) {
      const head = heads[task - 1]!;
      for (let step = 0; step < 4; step++) {
        const loss = engine.tidy(() => {
          const x = tensor(
            engine,
            Float32Array.from(inputs[`x${task}`]!.data.subarray(60 * step, 60 * step + 60)),
            [6, 10],
          );
          const y = tensor(
            engine,
            Uint32Array.from(inputs[`y${task}`]!.data.subarray(6 * step, 6 * step + 6)),
          );
          const value = crossEntropy(head.forward(base.forward(x)), y);
          const moving = task === 1 ? parameters : base.parameters();
          const gradients = grad(value, moving);
          // Like zero_grad in PyTorch 1.13: a parameter that is not used has a gradient of zeros, not none.
          optimizer.step(parameters.map((p, i) => gradients[i] ?? zeros(engine, p.shape)));
          return value;
        });
        losses.push(await loss.item());
        loss.dispose();
      }
      await expect(`baseW_after${task}`, parameters[0]!);
      await expect(`baseb_after${task}`, parameters[1]!);
      await expect(`h1W_after${task}`, heads[0].weight);
      await expect(`h1b_after${task}`, heads[0].bias);
    }
    await expect('h2W_after2', heads[1].weight);
    await expect('h2b_after2', heads[1].bias);
    assert.is(losses.length, 8);
    // WGSL allows the log of the loss an error of 2^-21.
    compare(losses, outputs.losses!.data, { abs: 2e-6, rel: 2e-6 }, 'losses');
  });
}

test.run();
