// Several engines, several threads and several tasks on one engine at once: each learns the same bits as alone.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Engine } from '../src/gpu/engine.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { learn } from './support/learning.ts';

const SEEDS = [1, 2, 3, 4];
const engine = await openEngine();
test.after(closeEngine);

const alone: string[] = [];
test('alone, one after the other', async () => {
  for (const seed of SEEDS) alone.push(await learn(engine, seed));
  assert.is(new Set(alone).size, SEEDS.length, 'each seed learns something else');
  assert.is(await learn(engine, SEEDS[0]!), alone[0]);
});

test('two engines at once', async () => {
  const other = await Engine.create();
  assert.equal(await Promise.all([learn(engine, 1), learn(other, 2)]), alone.slice(0, 2));
  other.dispose();
  assert.is(await learn(engine, 3), alone[2], 'the other engine is gone');
});

test('two tasks at once on one engine', async () => {
  const before = engine.memory.inUse;
  assert.equal(await Promise.all([learn(engine, 1), learn(engine, 2)]), alone.slice(0, 2));
  assert.is(engine.memory.inUse, before);
});

/** A thread that learns with an engine of its own. */
const thread = (seed: number, forever = false): Worker =>
  new Worker(new URL('./support/learning-worker.mjs', import.meta.url), { workerData: { seed, forever } });

/** What a thread learnt, once it has ended by itself. */
async function learnt(worker: Worker): Promise<string> {
  const ended = once(worker, 'exit');
  const [hash] = (await once(worker, 'message')) as [string];
  assert.equal(await ended, [0]);
  return hash;
}

test('four threads and this one at once', async () => {
  const all = await Promise.all([...SEEDS.map((seed) => learnt(thread(seed))), learn(engine, 1)]);
  assert.equal(all, [...alone, alone[0]]);
});

test('a thread that disposes its engine in the middle of its work: the others do not notice', async () => {
  const stopped = thread(1, true);
  const said: string[] = [];
  stopped.on('message', (text: string) => said.push(text));
  await once(stopped, 'message');
  const ended = once(stopped, 'exit');
  const other = learnt(thread(2));
  stopped.postMessage('stop');
  assert.equal([await learn(engine, 3), await other], [alone[2], alone[1]]);
  assert.equal(await ended, [0]);
  assert.is(said.at(-1), 'DISPOSED');
});

test.run();
