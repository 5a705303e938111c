// Long work leaves nothing behind: memory, GPU buffers, files, threads and handles stay where they were, and a process
// that has disposed its engine ends by itself. ELI_SOAK_DISPATCHES and ELI_SOAK_CYCLES set how long (default 20,000
// dispatches and 50 engines); what a dispatch or an engine leaves behind is printed.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine } from '../src/gpu/engine.ts';
import { add, mul } from '../src/ops/binary.ts';
import { sum } from '../src/ops/reduce.ts';
import { full } from '../src/tensor/create.ts';
import type { Tensor } from '../src/tensor/tensor.ts';

const DISPATCHES = Number(process.env.ELI_SOAK_DISPATCHES ?? 20_000);
const CYCLES = Number(process.env.ELI_SOAK_CYCLES ?? 50);

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

interface Usage {
  /** Bytes of memory that the system counts. */
  readonly resident: number;
  /** Bytes that JavaScript objects hold, array buffers included. */
  readonly held: number;
  /** Open files, sockets and the like; 0 where /proc is missing. */
  readonly files: number;
  readonly threads: number;
  /** What keeps Node alive. */
  readonly handles: number;
}

const entries = (folder: string): number => (existsSync(folder) ? readdirSync(folder).length : 0);

async function usage(): Promise<Usage> {
  // What finalizers free is gone after another turn.
  for (let i = 0; i < 3; i++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return {
    resident: rss,
    held: heapUsed + external,
    files: entries('/proc/self/fd'),
    threads: entries('/proc/self/task'),
    handles: process.getActiveResourcesInfo().length,
  };
}

const SAMPLES = 20;
/**
 * What a whole run may add, long or short: memory settles late (the driver's threads each keep what they once needed,
 * compiled JavaScript comes and goes), and a leak shows by the length of a run.
 */
const MOST: Usage = { resident: 48 * 2 ** 20, held: 2 ** 20, files: 2, threads: 2, handles: 2 };

/**
 * Does `count` pieces of work and looks 20 times at what the process holds: the growth over the run, by least squares
 * over its last three quarters as caches fill in the first one, must be below `MOST`.
 */
async function flat(what: string, count: number, work: (pieces: number) => Promise<void>): Promise<void> {
  const each = Math.ceil(count / SAMPLES);
  const samples: Usage[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    await work(each);
    samples.push(await usage());
  }
  const late = samples.slice(SAMPLES / 4);
  const middle = (late.length - 1) / 2;
  const spread = late.reduce((total, _, i) => total + (i - middle) ** 2, 0);
  const [first, last] = [late[0]!, late.at(-1)!];
  console.log(`\n${each * SAMPLES} ${what}:`);
  for (const key of Object.keys(MOST) as (keyof Usage)[]) {
    const slope = late.reduce((total, sample, i) => total + (i - middle) * sample[key], 0) / spread;
    console.log(`  ${key} ${first[key]} → ${last[key]}, ${(slope / each).toFixed(3)} each`);
    assert.ok(slope * SAMPLES < MOST[key], `${key} grow by ${slope / each} each`);
  }
}

/** Buffers of this device that nobody has destroyed, counted beside the engine's own books. */
function countBuffers(engine: Engine): () => number {
  const { device } = engine;
  const create = device.createBuffer.bind(device);
  let alive = 0;
  device.createBuffer = (wanted) => {
    const buffer = create(wanted);
    const destroy = buffer.destroy.bind(buffer);
    alive++;
    buffer.destroy = () => {
      alive--;
      return destroy();
    };
    return buffer;
  };
  return () => alive;
}

/** Three dispatches over tensors of a size that changes from call to call. */
const chain = (x: Tensor): Tensor => sum(mul(add(x, 1), x));
const SIZES = [1, 33, 1000, 4096, 257];

test('eager dispatches', async () => {
  using engine = await Engine.create();
  const alive = countBuffers(engine);
  let calls = 0;
  const work = async (dispatches: number): Promise<void> => {
    for (let i = 0; i < dispatches; i += 4) {
      using y = engine.tidy(() => chain(full(engine, [SIZES[calls % SIZES.length]!], calls % 7)));
      if (++calls % 25 === 0) await y.item();
    }
    await engine.sync();
  };
  await work(400);
  const before = [alive(), engine.memory];
  await flat('eager dispatches', DISPATCHES, work);
  assert.equal([alive(), engine.memory], before, 'buffers');
});

test('captured dispatches', async () => {
  using engine = await Engine.create();
  const alive = countBuffers(engine);
  using x = full(engine, [1000], 2);
  const program = engine.capture(() => chain(x));
  const work = async (dispatches: number): Promise<void> => {
    for (let i = 0; i < dispatches; i += 60) {
      program.run(60 / program.dispatches);
      await program.result.item();
    }
  };
  assert.is(program.dispatches, 3);
  await work(600);
  const before = [alive(), engine.memory];
  await flat('captured dispatches', DISPATCHES, work);
  assert.equal([alive(), engine.memory], before, 'buffers');
  program.dispose();
});

test('programs, captured and disposed', async () => {
  using engine = await Engine.create();
  const alive = countBuffers(engine);
  using x = full(engine, [1000], 2);
  const work = async (programs: number): Promise<void> => {
    for (let i = 0; i < programs; i++) {
      const program = engine.capture(() => chain(x));
      program.run();
      await program.result.item();
      program.dispose();
    }
  };
  await work(20);
  const before = [alive(), engine.memory.inUse];
  await flat('programs', DISPATCHES / 40, work);
  assert.equal([alive(), engine.memory.inUse], before, 'buffers');
});

test('engines, created and disposed', async () => {
  const listeners = process.eventNames().map((name) => [name, process.listenerCount(name)]);
  const work = async (engines: number): Promise<void> => {
    for (let i = 0; i < engines; i++) {
      using engine = await Engine.create();
      const x = full(engine, [1000], 2);
      const program = engine.capture(() => chain(x));
      program.run(2);
      assert.is(await program.result.item(), 6000);
    }
  };
  await flat('engines', CYCLES, work);
  assert.equal(
    process.eventNames().map((name) => [name, process.listenerCount(name)]),
    listeners,
  );
});

const url = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
const CHILD = `
const { Engine } = await import(${url('../src/gpu/engine.ts')});
const { add } = await import(${url('../src/ops/binary.ts')});
const { full } = await import(${url('../src/tensor/create.ts')});
const engine = await Engine.create();
const x = full(engine, [1000], 2);
const program = engine.capture(() => add(x, 1));
program.run(10);
await program.result.read();
if (engine.has('timestamp-query')) await engine.profile(() => void add(x, 1));
add(x, 1);
engine.dispose();
const disposed = performance.now();
process.on('exit', () => console.log(performance.now() - disposed));
`;

test('a process that has disposed its engine ends by itself', () => {
  const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', CHILD], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  assert.is(child.status, 0, child.stderr);
  const milliseconds = Number(child.stdout);
  assert.ok(milliseconds < 1000, `it ended ${milliseconds} ms after dispose`);
});

test.run();
