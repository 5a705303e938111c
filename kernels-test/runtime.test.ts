// The runtime: memory, scopes, captured programs, errors, several engines, lost devices.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { Engine } from '../src/gpu/engine.ts';
import { Initializer } from '../src/nn/init.ts';
import { Activation, Linear, Sequential } from '../src/nn/layers.ts';
import { add, mul } from '../src/ops/binary.ts';
import { gather } from '../src/ops/gather.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { linear, matmul } from '../src/ops/matmul.ts';
import { mean, sum } from '../src/ops/reduce.ts';
import { softmax } from '../src/ops/softmax.ts';
import { exp, tanh } from '../src/ops/unary.ts';
import { concat, reshape, transpose } from '../src/ops/views.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { empty, full, tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal, randomUniform } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
const folder = temporaryFolder();
test.after(closeEngine);

/** An MLP with SGD on fixed data; each call starts from the same weights. */
function training(on: Engine = engine) {
  const init = new Initializer(on, 1);
  const model = new Sequential([new Linear(init, 10, 33), new Activation(tanh), new Linear(init, 33, 5)]);
  const x = randomNormal(on, [17, 10], { seed: 2 });
  const y = tensor(
    on,
    Uint32Array.from({ length: 17 }, (_, i) => i % 5),
  );
  const parameters = model.parameters();
  const optimizer = sgd(parameters, { learningRate: 0.1, momentum: 0.9 });
  const step = (): Tensor => {
    const loss = crossEntropy(model.forward(x), y);
    optimizer.step(grad(loss, parameters));
    return loss;
  };
  const dispose = (): void => {
    optimizer.dispose();
    model.dispose();
    x.dispose();
    y.dispose();
  };
  return { step, values: optimizer.flat.values, dispose };
}

test('100 captured training steps leave buffers and bytes where they were, and learn', async () => {
  const { step, dispose } = training();
  const program = engine.capture(step);
  program.run();
  const first = await program.result.item();
  const before = engine.memory;
  for (let k = 0; k < 100; k++) program.run();
  await engine.sync();
  assert.equal(engine.memory, before);
  const last = await program.result.item();
  assert.ok(last < 0.5 * first, `the loss went from ${first} to ${last}`);
  program.dispose();
  dispose();
});

test('100 eager training steps in tidy leave buffers and bytes where they were', async () => {
  const { step, dispose } = training();
  engine.tidy(step).dispose();
  const before = engine.memory;
  for (let k = 0; k < 100; k++) engine.tidy(step).dispose();
  await engine.sync();
  assert.equal(engine.memory, before);
  dispose();
});

test('captured and eager steps give the same bits, replayed one by one or many at a time', async () => {
  const [eager, one, many] = [training(), training(), training()];
  let loss = 0;
  for (let k = 0; k < 20; k++) {
    const result = engine.tidy(eager.step);
    if (k === 19) loss = await result.item();
    result.dispose();
  }
  const oneByOne = engine.capture(one.step);
  for (let k = 0; k < 20; k++) oneByOne.run();
  const together = engine.capture(many.step);
  together.run(20);
  const want = [...(await eager.values.readFloats())];
  assert.ok(want.some((v) => v !== 0));
  for (const [program, { values }] of [
    [oneByOne, one],
    [together, many],
  ] as const) {
    assert.equal([...(await values.readFloats())], want);
    assert.is(await program.result.item(), loss);
    program.dispose();
  }
  for (const t of [eager, one, many]) t.dispose();
});

test('a program keeps the tensors it uses and gives everything back', async () => {
  const start = engine.memory.inUse;
  const x = tensor(engine, [1, 2, 3]);
  const program = engine.capture(() => {
    const y = add(mul(x, 2), 1);
    return { y, sum: sum(y) };
  });
  x.dispose();
  // Would take x's buffer, were it free.
  const others = Array.from({ length: 4 }, () => full(engine, [3], 9));
  program.run();
  assert.equal([...(await program.result.y.readFloats())], [3, 5, 7]);
  assert.is(await program.result.sum.item(), 15);
  for (const t of others) t.dispose();
  program.dispose();
  program.dispose();
  assert.is(engine.memory.inUse, start);
  await fails(() => program.run(), 'DISPOSED', /program/);
});

test('a capture that throws gives everything back, and the engine captures again', async () => {
  const start = engine.memory.inUse;
  const x = tensor(engine, [1, 2]);
  assert.throws(
    () =>
      engine.capture(() => {
        exp(x);
        throw new Error('stop');
      }),
    /stop/,
  );
  assert.is(engine.memory.inUse, start + 1);
  const program = engine.capture(() => mul(x, 5));
  program.run();
  assert.equal([...(await program.result.readFloats())], [5, 10]);
  program.dispose();
  x.dispose();
});

test('reading, writing, awaiting and capturing inside a capture are refused', async () => {
  const x = tensor(engine, [1, 2]);
  const promises: Promise<unknown>[] = [];
  const program = engine.capture(() => {
    promises.push(x.read(), engine.sync());
    return add(x, 1);
  });
  assert.is(promises.length, 2);
  for (const promise of promises) await fails(() => promise, 'ARGUMENT', /inside engine\.capture/);
  await fails(() => engine.capture(() => x.write([3, 4])), 'ARGUMENT', /written .*inside engine\.capture/);
  await fails(() => engine.capture(() => engine.capture(() => x)), 'ARGUMENT', /nested/);
  program.run();
  assert.equal([...(await program.result.readFloats())], [2, 3], 'the engine works on');
  program.dispose();
  x.dispose();
});

test('tidy returns what fn returns, in arrays and objects too, and frees the rest', async () => {
  const start = engine.memory.inUse;
  const x = tensor(engine, [1, 2, 3, 4]);
  const lost: Tensor[] = [];
  const result = engine.tidy(() => {
    const middle = mul(x, 10);
    lost.push(middle);
    return { list: [add(middle, 1), reshape(middle, [2, 2])], deep: { n: 7, one: exp(x) }, text: 'a' };
  });
  assert.is(lost[0]!.disposed, true);
  assert.is(result.deep.n, 7);
  assert.is(result.text, 'a');
  // The view holds the buffer of its source: x, 1 + middle, middle, exp x.
  assert.is(engine.memory.inUse, start + 4);
  assert.equal([...(await result.list[1]!.readFloats())], [10, 20, 30, 40]);
  assert.equal([...(await result.list[0]!.readFloats())], [11, 21, 31, 41]);
  for (const t of [...result.list, result.deep.one, x]) t.dispose();
  assert.is(engine.memory.inUse, start);
});

test('tidy frees everything when fn throws', () => {
  const start = engine.memory.inUse;
  assert.throws(
    () =>
      engine.tidy(() => {
        zeros(engine, [5]);
        engine.tidy(() => {
          zeros(engine, [6]);
          throw new Error('stop');
        });
      }),
    /stop/,
  );
  assert.is(engine.memory.inUse, start);
  const y = zeros(engine, [5]);
  assert.is(engine.memory.inUse, start + 1, 'no scope is left open');
  y.dispose();
});

test('what an inner tidy returns belongs to the outer one; keep takes it out of both', () => {
  const start = engine.memory.inUse;
  const seen: Tensor[] = [];
  engine.tidy(() => {
    seen.push(engine.tidy(() => zeros(engine, [3])));
    assert.is(seen[0]!.disposed, false);
    engine.tidy(() => {
      seen.push(engine.keep(zeros(engine, [4])));
    });
  });
  assert.is(seen[0]!.disposed, true);
  assert.is(seen[1]!.disposed, false);
  assert.is(engine.memory.inUse, start + 1);
  seen[1]!.dispose();
  seen[1]!.dispose();
  assert.is(engine.memory.inUse, start, 'disposing twice releases once');
});

test('tidy refuses async functions', async () => {
  const start = engine.memory.inUse;
  await fails(() => engine.tidy(async () => zeros(engine, [2])), 'ARGUMENT', /async/);
  assert.is(engine.memory.inUse, start);
});

test('`using` disposes', () => {
  const start = engine.memory.inUse;
  {
    using x = zeros(engine, [3]);
    assert.is(x.disposed, false);
    assert.is(engine.memory.inUse, start + 1);
  }
  assert.is(engine.memory.inUse, start);
});

const SHADER = (body: string): string => `//!include lib/index.wgsl
@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = flat_index(id, groups);
${body}
}
`;

/** Writes a kernel to a file of its own and launches it once on a fresh tensor. */
function launchKernel(name: string, text: string): Tensor {
  const file = join(folder, name);
  writeFileSync(file, text);
  const y = zeros(engine, [64]);
  engine.run(file, { storages: [y.storage], groups: [1] });
  return y;
}

test('a kernel of one’s own runs by absolute path', async () => {
  const y = launchKernel('good.wgsl', SHADER('  y[i] = f32(i);'));
  assert.equal(
    [...(await y.readFloats())],
    Array.from({ length: 64 }, (_, i) => i),
  );
});

test('a compile error names file, line and column of the file as written, once', async () => {
  // Line 7 of the file, although an include in front of it moves it down.
  const y = launchKernel('broken.wgsl', SHADER('  y[i] = i;'));
  await fails(() => y.read(), 'WGSL', /broken\.wgsl:7:8: .*'u32'/);
  const x = tensor(engine, [1, 2]);
  assert.equal([...(await mul(x, 2).readFloats())], [2, 4], 'the engine works on');
  await engine.sync();
});

test('a syntax error names file and line', async () => {
  await fails(
    async () => {
      const y = launchKernel('syntax.wgsl', SHADER('  y[i] = = 1.0;'));
      await y.read();
    },
    'WGSL',
    /syntax\.wgsl:7/,
  );
  await engine.sync();
});

test('a missing shader, include, override, const or binding is said', async () => {
  const y = zeros(engine, [4]);
  const run =
    (file: string, extra: object = {}) =>
    () =>
      engine.run(file, { storages: [y.storage], groups: [1], ...extra });
  await fails(run('no/such.wgsl'), 'WGSL', /no\/such\.wgsl not found/);
  const file = join(folder, 'include.wgsl');
  writeFileSync(file, '//!include lib/none.wgsl\n');
  await fails(run(file), 'WGSL', /lib\/none\.wgsl not found, included by .*include\.wgsl:1/);
  await fails(run('elementwise/fill.wgsl', { overrides: { NONE: 1 } }), 'WGSL', /no override NONE/);
  await fails(run('elementwise/fill.wgsl', { consts: { NONE: 1 } }), 'WGSL', /"const NONE/);
  await fails(run('elementwise/fill.wgsl', { storages: [] }), 'ARGUMENT', /binds 1 storage.* 0 were given/);
});

test('wrong shapes are said with the op and both shapes', async () => {
  const a = zeros(engine, [2, 3]);
  const b = zeros(engine, [4, 5]);
  const both = [/\[2, 3\]/, /\[4, 5\]/];
  await fails(() => add(a, b), 'SHAPE', /^add/, ...both);
  await fails(() => matmul(a, b), 'SHAPE', /^matmul/, ...both);
  await fails(() => linear(a, b, zeros(engine, [4])), 'SHAPE', /^linear/, ...both);
  await fails(() => concat([a, b], 0), 'SHAPE', /^concat/, ...both);
  await fails(() => reshape(a, [4, 2]), 'SHAPE', /^reshape/, /\[2, 3\]/, /\[4, 2\]/);
  await fails(
    () => crossEntropy(a, zeros(engine, [3], 'u32')),
    'SHAPE',
    /^crossEntropy/,
    /\[2, 3\]/,
    /\[3\]/,
  );
  await fails(() => sum(a, 2), 'SHAPE', /^sum/, /axis 2/, /\[2, 3\]/);
  await fails(() => tensor(engine, [1, 2, 3], [2, 2]), 'SHAPE', /^tensor/, /3 numbers/, /\[2, 2\]/);
  await fails(() => a.write([1, 2]), 'SHAPE', /2 numbers/, /\[2, 3\]/);
  await fails(() => transpose(a).write([1, 2, 3, 4, 5, 6]), 'SHAPE');
  await fails(() => a.item(), 'SHAPE', /6 elements/);
});

test('wrong dtypes are said', async () => {
  const x = zeros(engine, [2, 3]);
  const index = zeros(engine, [2], 'u32');
  await fails(() => softmax(zeros(engine, [2], 'i32')), 'DTYPE', /softmax/, /i32/);
  await fails(() => gather(x, zeros(engine, [2])), 'DTYPE', /gather/, /f32/);
  await fails(() => crossEntropy(x, zeros(engine, [2])), 'DTYPE', /crossEntropy/, /f32/);
  await fails(() => index.readFloats(), 'DTYPE', /u32/);
  await fails(() => matmul(zeros(engine, [2, 2], 'u32'), zeros(engine, [2, 2])), 'DTYPE', /matmul/, /u32/);
  await fails(() => exp(index), 'DTYPE', /exp/, /u32/);
  await fails(() => add(index, index), 'DTYPE', /add/, /u32/);
});

test('empty and malformed shapes are refused', async () => {
  await fails(() => zeros(engine, [0]), 'SHAPE', /\[0\]/, /empty tensors are not supported/);
  await fails(() => zeros(engine, [3, 0, 2]), 'SHAPE', /\[3, 0, 2\]/);
  await fails(() => tensor(engine, []), 'SHAPE', /\[0\]/);
  await fails(() => empty(engine, [-1]), 'SHAPE', /\[-1\]/);
  await fails(() => empty(engine, [1.5]), 'SHAPE', /\[1\.5\]/);
  await fails(() => empty(engine, new Array(9).fill(1)), 'SHAPE', /9 dimensions/);
  assert.is(await full(engine, [], 4).item(), 4, 'a scalar has the shape []');
});

test('use after dispose is refused', async () => {
  const x = tensor(engine, [1, 2]);
  x.dispose();
  await fails(() => add(x, 1), 'DISPOSED', /\[2\]/);
  await fails(() => x.read(), 'DISPOSED');
  await fails(() => x.write([1, 2]), 'DISPOSED');
  const other = await Engine.create();
  const y = tensor(other, [1, 2]);
  other.dispose();
  other.dispose();
  await fails(() => add(y, 1), 'DISPOSED', /engine/);
  await fails(() => y.read(), 'DISPOSED');
  await fails(() => other.sync(), 'DISPOSED');
  await fails(() => zeros(other, [1]), 'DISPOSED');
  y.dispose();
});

test('a tensor over the limit is refused, and the engine works on', async () => {
  const { maxBufferSize, maxStorageBufferBindingSize } = engine.device.limits;
  const elements = Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize) / 4) + 1;
  const before = engine.memory;
  await fails(
    () => empty(engine, [elements]),
    'OUT_OF_MEMORY',
    new RegExp(`${4 * elements} bytes`),
    /limit of/,
  );
  await fails(() => zeros(engine, [1e6, 1e6]), 'OUT_OF_MEMORY');
  assert.equal(engine.memory, before);
  assert.is(await full(engine, [1], 3).item(), 3);
});

test('profile gives the time of each kernel', async () => {
  const a = randomNormal(engine, [256, 256], { seed: 1 });
  const launch = (): void => {
    engine.tidy(() => {
      exp(matmul(a, a));
      exp(a);
    });
  };
  launch();
  if (!engine.has('timestamp-query')) {
    await fails(() => engine.profile(launch), 'ARGUMENT', /timestamp/);
    return;
  }
  const times = await engine.profile(launch);
  assert.is(times.length, 2, times.map((t) => t.kernel).join());
  assert.is(
    times.reduce((n, t) => n + t.dispatches, 0),
    3,
  );
  assert.ok(times.some((t) => t.kernel.startsWith('matmul/') && t.dispatches === 1));
  assert.ok(times.some((t) => t.kernel.startsWith('elementwise/unary') && t.dispatches === 2));
  for (const t of times)
    assert.ok(t.milliseconds > 0 && t.milliseconds < 10_000, `${t.kernel}: ${t.milliseconds} ms`);
  assert.ok(times[0]!.milliseconds >= times[1]!.milliseconds, 'longest first');
});

test('two engines in one process give the same bits and know their own tensors', async () => {
  const other = await Engine.create();
  try {
    const [mine, theirs] = [training(), training(other)];
    for (let k = 0; k < 5; k++) {
      engine.tidy(() => mine.step());
      other.tidy(() => theirs.step());
    }
    assert.equal([...(await theirs.values.readFloats())], [...(await mine.values.readFloats())]);
    const a = zeros(engine, [2, 2]);
    const b = zeros(other, [2, 2]);
    await fails(() => add(a, b), 'WRONG_ENGINE', /^add/);
    await fails(() => matmul(b, a), 'WRONG_ENGINE', /^matmul/);
    await fails(() => linear(a, b, zeros(engine, [2])), 'WRONG_ENGINE', /^linear/);
    await fails(() => concat([a, b], 0), 'WRONG_ENGINE', /^concat/);
    await fails(() => gather(a, zeros(other, [1], 'u32')), 'WRONG_ENGINE', /^gather/);
    mine.dispose();
  } finally {
    other.dispose();
  }
});

test('a device lost in the middle rejects what is pending and what follows', async () => {
  const other = await Engine.create();
  const x = randomUniform(other, [1000], { seed: 1 });
  await other.sync();
  const y = mean(mul(x, x));
  other.device.destroy();
  await fails(() => y.read(), 'DEVICE_LOST', /lost/);
  await fails(() => other.sync(), 'DEVICE_LOST');
  await fails(async () => add(x, 1).read(), 'DEVICE_LOST');
  other.dispose();
  const fresh = await Engine.create();
  assert.is(await full(fresh, [1], 2).item(), 2, 'a new engine works');
  fresh.dispose();
});

test('a process that disposes its engine ends by itself', () => {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const file = join(folder, 'child.mts');
  const from = (path: string): string => JSON.stringify(new URL(`../src/${path}`, import.meta.url).href);
  writeFileSync(
    file,
    `import { Engine } from ${from('gpu/engine.ts')};
import { sum } from ${from('ops/reduce.ts')};
import { full } from ${from('tensor/create.ts')};
const engine = await Engine.create();
console.log('sum', await sum(full(engine, [1000], 2)).item());
engine.dispose();
`,
  );
  const child = spawnSync(process.execPath, ['--import', 'tsx', file], {
    cwd: root,
    encoding: 'utf8',
    timeout: 20_000,
  });
  assert.is(child.signal, null, `stopped after 20 s: ${child.stdout} ${child.stderr}`);
  assert.is(child.status, 0, child.stderr);
  assert.match(child.stdout, /sum 2000/);
});

test.run();
