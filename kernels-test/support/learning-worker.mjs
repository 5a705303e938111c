// A thread that learns with an engine of its own, over and over where it is told to. Node's threads do not take over
// the reader of TypeScript.
import { parentPort, workerData } from 'node:worker_threads';
import { register } from 'tsx/esm/api';

register();
const { Engine } = await import('../../src/gpu/engine.ts');
const { learn } = await import('./learning.ts');

const engine = await Engine.create();
do parentPort.postMessage(await learn(engine, workerData.seed));
while (workerData.forever);
engine.dispose();
