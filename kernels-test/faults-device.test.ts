// What a device can do to a program: it is lost at any point, has no memory left, refuses work. What waits rejects with
// an EliError, memory comes back, and the process goes on.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { EliError, type ErrorCode } from '../src/errors.ts';
import { mnistConfig } from '../src/experiments/mnist/config.ts';
import { runMnist } from '../src/experiments/mnist/run.ts';
import { Engine } from '../src/gpu/engine.ts';
import type { Program } from '../src/gpu/program.ts';
import { Initializer } from '../src/nn/init.ts';
import { Linear } from '../src/nn/layers.ts';
import { add, mul } from '../src/ops/binary.ts';
import { crossEntropy } from '../src/ops/loss.ts';
import { sum } from '../src/ops/reduce.ts';
import { exp } from '../src/ops/unary.ts';
import { sgd } from '../src/optim/optimizer.ts';
import { full, tensor, zeros } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import type { Tensor } from '../src/tensor/tensor.ts';
import { fails, temporaryFolder } from './support/data.ts';
import { smallMnist } from './support/mnist.ts';

const folder = temporaryFolder();
const unhandled: unknown[] = [];
process.on('unhandledRejection', (error) => unhandled.push(error));

/** Runs `fn` with an engine of its own, so that it may be broken. */
async function onEngine<T>(fn: (engine: Engine) => Promise<T>, memoryLimit?: number): Promise<T> {
  const engine = await Engine.create(memoryLimit === undefined ? {} : { memoryLimit });
  try {
    return await fn(engine);
  } finally {
    engine.dispose();
    assert.is(engine.memory.bytes, 0);
    assert.is(engine.memory.inUse, 0);
    assert.is(engine.memory.bytesInUse, 0);
  }
}

/** A captured training step of a small classifier. */
function training(engine: Engine): { program: Program<Tensor>; values: Tensor; dispose: () => void } {
  const model = new Linear(new Initializer(engine, 1), 20, 5);
  const x = randomNormal(engine, [40, 20], { seed: 2 });
  const y = tensor(
    engine,
    Uint32Array.from({ length: 40 }, (_, i) => i % 5),
  );
  const optimizer = sgd(model.parameters(), { learningRate: 0.1, momentum: 0.9 });
  const program = engine.capture(() => {
    const loss = crossEntropy(model.forward(x), y);
    optimizer.step(grad(loss, model.parameters()));
    return loss;
  });
  const dispose = (): void => {
    for (const item of [program, optimizer, model, x, y]) item.dispose();
  };
  return { program, values: optimizer.flat.values, dispose };
}

/** The codes that promises reject with; `done` for those that do not. */
async function codes(promises: readonly Promise<unknown>[]): Promise<(ErrorCode | 'done' | string)[]> {
  const ends = await Promise.allSettled(promises);
  return ends.map((end) => {
    if (end.status === 'fulfilled') return 'done';
    return end.reason instanceof EliError ? end.reason.code : String(end.reason);
  });
}

const LOST = 'DEVICE_LOST';

test('a device lost at any point of a training: all that waits rejects, a new engine gives the same bits', async () => {
  const whole = await onEngine(async (engine) => {
    const { program, values } = training(engine);
    program.run(30);
    return values.readFloats();
  });
  // Where it is lost: before a replay, between two, with all submitted, and while the reads are on their way.
  const points: ((program: Program<Tensor>, lose: () => void) => void)[] = [
    (program, lose) => {
      lose();
      program.run(30);
    },
    (program, lose) => {
      program.run(15);
      lose();
      program.run(15);
    },
    (program, lose) => {
      program.run(3000);
      lose();
    },
    (program, lose) => {
      program.run(3000);
      setImmediate(lose);
    },
  ];
  for (const [i, point] of points.entries()) {
    await onEngine(async (engine) => {
      const { program, values, dispose } = training(engine);
      await engine.sync();
      point(program, () => engine.device.destroy());
      const ends = await codes([program.result.item(), values.read(), engine.sync()]);
      assert.equal(ends, [LOST, LOST, LOST], `point ${i}`);
      await fails(() => program.run(), LOST, /new engine/);
      await fails(() => engine.sync(), LOST);
      dispose();
      assert.is(engine.memory.inUse, 0);
    });
  }
  const again = await onEngine(async (engine) => {
    const { program, values } = training(engine);
    program.run(30);
    return values.readFloats();
  });
  assert.equal(again, whole);
});

test('a device lost inside of tidy, capture and profile', async () => {
  await onEngine(async (engine) => {
    const x = full(engine, [1000], 1);
    await engine.sync();
    const lose = async (): Promise<void> => {
      engine.device.destroy();
      await engine.device.lost;
    };
    const times = engine.profile(async () => {
      add(x, 1).dispose();
      await lose();
      add(x, 1);
    });
    assert.equal(await codes([times]), [LOST]);
    await fails(() => engine.tidy(() => add(x, 1)), LOST);
    await fails(() => engine.capture(() => add(x, 1)), LOST);
    await fails(() => engine.profile(() => undefined), LOST);
    x.dispose();
    assert.is(engine.memory.inUse, 0);
  });
});

test('a fit whose device is lost rejects, wherever it is', async () => {
  for (const lose of ['in the hook', 'later'] as const) {
    await onEngine(async (engine) => {
      const previous = randomNormal(engine, [500, 8], { seed: 1 });
      const current = randomNormal(engine, [500, 8], { seed: 2 });
      const fit = EnergyAligner.fit(
        engine,
        { previous, current },
        { iterations: 100_000, hidden: 32, batch: 32 },
        {
          every: 50,
          onProgress: () => {
            if (lose === 'in the hook') engine.device.destroy();
            else setTimeout(() => engine.device.destroy(), 5);
          },
        },
      );
      assert.equal(await codes([fit]), [LOST], lose);
      previous.dispose();
      current.dispose();
      assert.is(engine.memory.inUse, 0, 'the fit gave back what it took');
    });
  }
});

test('an experiment whose device is lost goes on from its checkpoint to the same bytes', async () => {
  const mnist = await smallMnist(600, 200);
  const config = mnistConfig({ epochs: 2, batch: 32, iterations: 60, curveEvery: 20, hidden: 32, steps: 5 });
  const run = (engine: Engine, name: string, resume: boolean, onUpdate = (): void => undefined) =>
    runMnist(engine, config, mnist, {
      folder: join(folder, name),
      progress: () => ({ update: onUpdate, done: () => undefined }),
      pictures: false,
      resume,
    });
  for (const name of ['whole', 'lost']) mkdirSync(join(folder, name));
  await onEngine((engine) => run(engine, 'whole', false));
  // Lost in task 1, in task 2 and in the fit, each time on the way to the next checkpoint.
  for (const [i, updates] of [2, 2, 2].entries()) {
    await onEngine(async (engine) => {
      let left = updates;
      const lost = run(engine, 'lost', i > 0, () => {
        if (--left === 0) engine.device.destroy();
      });
      assert.equal(await codes([lost]), [LOST]);
    });
  }
  await onEngine((engine) => run(engine, 'lost', true));
  for (const file of ['metrics.json', 'checkpoint.safetensors', 'aligner.safetensors', 'log.jsonl']) {
    const [a, b] = ['whole', 'lost'].map((name) => readFileSync(join(folder, name, file)));
    assert.ok(a!.equals(b!), file);
  }
});

const MEBI = 2 ** 20;

test('a memory limit: buffers that wait are given up, then OUT_OF_MEMORY says how much is in use', async () => {
  await onEngine(
    async (engine) => {
      const held: Tensor[] = [];
      await fails(
        () => {
          for (let i = 0; i < 100; i++) held.push(full(engine, [MEBI / 4], i));
        },
        'OUT_OF_MEMORY',
        /buffer of 1048576 bytes does not fit: 8388608 of the 8392704 bytes/,
      );
      assert.is(held.length, 8);
      assert.is((await held[7]!.readFloats())[5], 7, 'the engine works on');
      // Recorded, not yet submitted, while the buffers that it uses are given up for one of another size.
      const total = engine.tidy(() => sum(held[3]!));
      for (const t of held) t.dispose();
      const large = full(engine, [MEBI], 2);
      assert.ok(engine.memory.bytes <= 8 * MEBI);
      const twos = engine.tidy(() => sum(large));
      assert.is(await twos.item(), 2 * MEBI);
      assert.is(await total.item(), (3 * MEBI) / 4);
      const program = engine.capture(() => mul(large, 2));
      await fails(() => engine.capture(() => mul(large, 3)), 'OUT_OF_MEMORY');
      program.run();
      assert.is((await program.result.readFloats())[0], 4);
      program.dispose();
      for (const t of [large, twos, total]) t.dispose();
      assert.is(engine.memory.inUse, 0);
    },
    8 * MEBI + 4096,
  );
  for (const memoryLimit of [0, -1, Number.NaN]) {
    await fails(() => Engine.create({ memoryLimit }), 'ARGUMENT', /memoryLimit is/);
  }
});

/**
 * Makes the device ask its driver for more than there is, where `refused` says so; false when the driver grants even
 * that.
 */
async function starve(engine: Engine, refused: (usage: number) => boolean): Promise<boolean> {
  const { device } = engine;
  const createBuffer = device.createBuffer.bind(device);
  const most = (usage: number): GPUBuffer => createBuffer({ size: device.limits.maxBufferSize, usage });
  device.pushErrorScope('out-of-memory');
  most(GPUBufferUsage.COPY_DST).destroy();
  if ((await device.popErrorScope()) === null) return false;
  device.createBuffer = (wanted) => (refused(wanted.usage) ? most(wanted.usage) : createBuffer(wanted));
  return true;
}

test('a device without memory: OUT_OF_MEMORY, and the buffer it did not give is not used again', async () => {
  await onEngine(async (engine) => {
    const x = full(engine, [1000], 3);
    await engine.sync();
    const before = engine.memory;
    let hungry = true;
    if (!(await starve(engine, (usage) => hungry && (usage & GPUBufferUsage.STORAGE) !== 0))) {
      console.log(`not tested: ${engine.adapter.name} grants any buffer`);
      return;
    }
    const y = add(x, 1);
    assert.equal(await codes([y.read(), x.read()]), ['OUT_OF_MEMORY', 'OUT_OF_MEMORY']);
    y.dispose();
    assert.is(engine.memory.inUse, before.inUse);
    assert.is(engine.memory.bytes, before.bytes);
    const program = engine.capture(() => mul(x, 2));
    program.run();
    assert.equal(await codes([program.result.read()]), ['OUT_OF_MEMORY']);
    program.dispose();
    hungry = false;
    assert.is((await add(x, 2).readFloats())[999], 5, 'the engine works on');
    await engine.sync();
  });
});

test('no memory to read a tensor', async () => {
  await onEngine(async (engine) => {
    const x = full(engine, [1000], 3);
    let hungry = true;
    if (!(await starve(engine, (usage) => hungry && (usage & GPUBufferUsage.MAP_READ) !== 0))) {
      console.log(`not tested: ${engine.adapter.name} grants any buffer`);
      return;
    }
    assert.equal(await codes([x.read()]), ['OUT_OF_MEMORY']);
    hungry = false;
    assert.is((await x.readFloats())[7], 3, 'the engine works on');
  });
});

/** A kernel file of its own: y[i] = expression of x[i]. */
function kernel(name: string, expression: string): string {
  const file = join(folder, name);
  writeFileSync(
    file,
    `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  y[id.x] = ${expression};
}
`,
  );
  return file;
}

test('a program that the device refuses says so at each replay, to all that wait; others go on', async () => {
  await onEngine(async (engine) => {
    const good = full(engine, [64], 1);
    const program = engine.capture(() => add(good, 1));
    const before = engine.memory.inUse;
    // One buffer bound twice for writing.
    const file = kernel('alias.wgsl', 'x[id.x] + 1.0');
    const refused = engine.capture(() => {
      const x = zeros(engine, [64]);
      engine.run(file, { storages: [x.storage, x.storage], groups: [1] });
      return x;
    });
    for (let i = 0; i < 2; i++) {
      refused.run();
      const ends = await codes([refused.result.read(), good.read(), engine.sync()]);
      assert.equal(ends, ['VALIDATION', 'VALIDATION', 'VALIDATION']);
      program.run();
      assert.is((await program.result.readFloats())[0], 2, 'said once: what comes later is not touched');
    }
    refused.dispose();
    assert.is(engine.memory.inUse, before);
  });
});

test('a kernel that does not compile, inside a program', async () => {
  await onEngine(async (engine) => {
    const file = kernel('broken.wgsl', 'x[id.x] + 1u');
    const [x, y] = [full(engine, [64], 1), full(engine, [64], 1)];
    const program = engine.capture(() => engine.run(file, { storages: [x.storage, y.storage], groups: [1] }));
    program.run();
    await fails(() => engine.sync(), 'WGSL', /broken\.wgsl:6:/);
    program.dispose();
    assert.is((await y.readFloats())[0], 1, 'the engine works on');
  });
});

test('an exception inside profile: it comes through, and the engine is as before', async () => {
  await onEngine(async (engine) => {
    const x = full(engine, [64], 1);
    if (!engine.has('timestamp-query')) return;
    const before = engine.memory.inUse;
    const throwing = engine.profile(() => {
      add(x, 1).dispose();
      throw new Error('stop');
    });
    assert.equal(await codes([throwing]), ['Error: stop']);
    assert.is(engine.memory.inUse, before);
    const profiled = (): void => engine.tidy(() => void exp(x));
    const [first, second] = [engine.profile(profiled), engine.profile(profiled)];
    await fails(() => second, 'ARGUMENT', /another profile is running/);
    assert.is((await first).length, 1);
  });
});

test('async functions in scopes are refused once: their own failure later is nobody’s', async () => {
  await onEngine(async (engine) => {
    const x = full(engine, [64], 1);
    for (const scope of ['tidy', 'capture'] as const) {
      const later = async (): Promise<void> => {
        const y = add(x, 1);
        await null;
        add(y, 1);
      };
      await fails(() => engine[scope](later), 'ARGUMENT', /async function/);
    }
    await engine.sync();
    assert.equal(unhandled, []);
  });
});

test.run();
