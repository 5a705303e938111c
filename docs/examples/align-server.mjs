// Aligns latents over HTTP: POST /align with {"latents": [[…], …]} answers {"aligned": [[…], …]}.
//
//   node align-server.mjs aligner.safetensors --port 8080
//
// Concurrent requests share a batch on the device; the queue is bounded (503), requests that are given up or take too
// long leave it, and SIGTERM lets those under way finish. The server listens on this machine only.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { json } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { Engine, loadMap, tensor } from 'eli-webgpu';
import { MicroBatcher, QueueFull } from './micro-batcher.mjs';

const MAX_BODY = 8 << 20;
const TIMEOUT = 10_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '8080' },
    batch: { type: 'string', default: '1024' },
    queue: { type: 'string', default: '4096' },
  },
});
const engine = await Engine.create();
const map = await loadMap(engine, positionals[0]);
const limits = { maxBatch: Number(values.batch), maxQueued: Number(values.queue) };

/** Aligns the rows of several requests, each Float32Array [n, d], in one go. */
async function align(inputs) {
  const all = new Float32Array(inputs.reduce((total, { length }) => total + length, 0));
  const starts = [];
  let at = 0;
  for (const input of inputs) {
    all.set(input, at);
    starts.push(at);
    at += input.length;
  }
  const latents = tensor(engine, all, [all.length / map.latent, map.latent]);
  const aligned = map.align(latents);
  try {
    const values = await aligned.readFloats();
    return inputs.map(({ length }, i) => values.subarray(starts[i], starts[i] + length));
  } finally {
    for (const one of [latents, aligned]) one.dispose();
  }
}

const batcher = new MicroBatcher(align, limits);
/** Aborted when what is still under way has had its time to finish. */
const stop = new AbortController();
let active = 0;

/** An answer that is not a result. */
class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The latents of a request as Float32Array [n, d]. */
async function latentsOf(request, signal) {
  if (!(Number(request.headers['content-length']) <= MAX_BODY)) {
    // Read to its end and thrown away, or the client would not see the answer.
    await once(request.resume(), 'end', { signal });
    throw new Refusal(413, `send a content-length of at most ${MAX_BODY} bytes`);
  }
  const body = await json(request).catch((error) => {
    throw new Refusal(400, `the body is not JSON: ${error.message}`);
  });
  const rows = body?.latents;
  const right = (row) => Array.isArray(row) && row.length === map.latent && row.every(Number.isFinite);
  if (!Array.isArray(rows) || rows.length === 0 || !rows.every(right))
    throw new Refusal(400, `latents must be a list of rows of ${map.latent} finite numbers`);
  if (rows.length > limits.maxQueued)
    throw new Refusal(413, `send at most ${limits.maxQueued} rows in a request`);
  return Float32Array.from(rows.flat());
}

async function answer(request, signal) {
  if (request.method === 'GET' && request.url === '/health') {
    return { latent: map.latent, queued: batcher.queued, active, batches: batcher.batches };
  }
  if (request.method !== 'POST' || request.url !== '/align') throw new Refusal(404, 'POST /align');
  const latents = await latentsOf(request, signal);
  const aligned = await batcher.run(latents, latents.length / map.latent, signal);
  // Its own latents diverged, not those of others in the batch.
  if (!aligned.every(Number.isFinite)) throw new Refusal(422, 'the chain diverges from these latents');
  const rows = Array.from({ length: aligned.length / map.latent }, (_, i) =>
    Array.from(aligned.subarray(i * map.latent, (i + 1) * map.latent)),
  );
  return { aligned: rows };
}

function statusOf(error, signal) {
  if (error instanceof Refusal) return error.status;
  if (error instanceof QueueFull || stop.signal.aborted) return 503;
  return signal.reason?.name === 'TimeoutError' ? 504 : 500;
}

const server = createServer(async (request, response) => {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const signal = AbortSignal.any([gone.signal, stop.signal, AbortSignal.timeout(TIMEOUT)]);
  let status = 200;
  let body;
  active++;
  try {
    body = await answer(request, signal);
  } catch (error) {
    status = statusOf(error, signal);
    body = { error: status === 500 ? 'internal error' : error.message };
    if (status === 500 && !gone.signal.aborted) console.error(error);
    // Nothing can be computed any more: whoever supervises this process starts it anew.
    if (error.code === 'DEVICE_LOST') shutDown('the device was lost', 1);
  } finally {
    active--;
  }
  const headers = { 'content-type': 'application/json' };
  if (status === 503) headers['retry-after'] = '1';
  // A server that stops keeps no connection.
  if (!server.listening) headers.connection = 'close';
  response.writeHead(status, headers).end(JSON.stringify(body));
});

let stopping = false;
async function shutDown(why, code) {
  if (stopping) return;
  stopping = true;
  console.error(`${why}: finishing ${active} requests`);
  process.exitCode = code;
  const timer = setTimeout(() => {
    stop.abort();
    setTimeout(() => server.closeAllConnections(), 500);
  }, TIMEOUT);
  await new Promise((done) => server.close(done));
  await batcher.idle();
  clearTimeout(timer);
  engine.dispose();
}
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => shutDown(signal, 0));

server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`aligning latents of ${map.latent} on http://127.0.0.1:${server.address().port}/align`);
});
