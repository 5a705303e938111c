// While a device works, this process leaves the processor to others (a software driver, say), and still does what comes in.
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { matmul } from '../src/ops/matmul.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const x = engine.keep(randomNormal(engine, [512, 512], { seed: 1 }));
const program = engine.capture(() => {
  matmul(x, x);
});

/** How often the program is run so that the device works for half a second at least. */
async function halfSecond(): Promise<number> {
  for (let times = 4; ; times *= 2) {
    const start = performance.now();
    program.run(times);
    await engine.sync();
    if (performance.now() - start > 500) return times;
  }
}
const times = await halfSecond();

/** Seconds of processor time of this thread, which Linux counts in hundredths. */
function threadSeconds(): number {
  const text = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

(process.platform === 'linux' ? test : test.skip)(
  'a waiting thread takes less than a third of a core',
  async () => {
    // The least of three: a garbage collection may fall into one.
    const shares: number[] = [];
    for (let round = 0; round < 3; round++) {
      const start = performance.now();
      const before = threadSeconds();
      program.run(times);
      await engine.sync();
      shares.push((threadSeconds() - before) / ((performance.now() - start) / 1000));
    }
    assert.ok(Math.min(...shares) < 1 / 3, `shares of a core: ${shares}`);
  },
);

test('timers, promises and other waits go on meanwhile', async () => {
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  const start = performance.now();
  program.run(times);
  const done = engine.sync();
  const early = await Promise.race([
    done.then(() => 'device'),
    new Promise((r) => setTimeout(r, 20, 'timer')),
  ]);
  await done;
  const elapsed = performance.now() - start;
  clearInterval(timer);
  assert.is(early, 'timer');
  assert.ok(ticks > elapsed / 5 / 4, `${ticks} ticks of 5 ms in ${elapsed} ms`);
});

test('work in slices is hardly delayed', async () => {
  const slices = async (): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < 100; i++) {
      const until = performance.now() + 1;
      while (performance.now() < until);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return performance.now() - start;
  };
  program.run(times);
  const done = engine.sync();
  // Past the first milliseconds of the wait, which never sleep.
  await new Promise((resolve) => setTimeout(resolve, 30));
  const elapsed = await slices();
  await done;
  assert.ok(elapsed < 500, `100 slices of 1 ms took ${elapsed} ms`);
});

test('a short wait is not delayed', async () => {
  const wait = async (): Promise<number> => {
    const start = performance.now();
    await engine.sync();
    return performance.now() - start;
  };
  const all: number[] = [];
  for (let i = 0; i < 50; i++) all.push(await wait());
  const median = all.sort((a, b) => a - b)[25]!;
  assert.ok(median < 2, `an idle device is awaited for ${median} ms`);
});

test.run();
