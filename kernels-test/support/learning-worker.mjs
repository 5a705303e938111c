// A thread that learns with an engine of its own; `forever` until a message comes, upon which it disposes its engine
// in the middle of the work and posts the code of the error. Node's threads do not take over the reader of TypeScript.
import { parentPort, workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const { Engine } = await import('../../src/gpu/engine.ts');
const { learn } = await import('./learning.ts');

const { seed, forever } = workerData;
const engine = await Engine.create();
if (forever) parentPort.once('message', () => engine.dispose());
try {
  do parentPort.postMessage(await learn(engine, seed));
  while (forever);
} catch (error) {
  parentPort.postMessage(error.code);
}
engine.dispose();
