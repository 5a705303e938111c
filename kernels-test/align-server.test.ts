// docs/examples/align-server.mjs, run on loopback (its import pointed at the sources), and the batcher that it rests on.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
// @ts-expect-error plain JavaScript, as users copy it
import { MicroBatcher, QueueFull } from '../docs/examples/micro-batcher.mjs';
import { EnergyAligner } from '../src/eli/aligner.ts';
import { tensor } from '../src/tensor/create.ts';
import { randomNormal } from '../src/tensor/random.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const D = 8;
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'eli-server-'));
const engine = await openEngine();
const previous = randomNormal(engine, [256, D], { seed: 1 });
const current = randomNormal(engine, [256, D], { seed: 2 }, 0.5, 0.8);
const aligner = await EnergyAligner.fit(engine, { previous, current }, { iterations: 20 });
await aligner.save(join(folder, 'aligner.safetensors'));

const examples = join(root, 'docs/examples');
const text = readFileSync(join(examples, 'align-server.mjs'), 'utf8');
const index = new URL('../src/index.ts', import.meta.url).href;
const script = join(folder, 'align-server.mjs');
writeFileSync(script, text.replace("'eli-webgpu'", `'${index}'`));
copyFileSync(join(examples, 'micro-batcher.mjs'), join(folder, 'micro-batcher.mjs'));

let child: ChildProcess;
let said = '';
let port = 0;
test.before(async () => {
  const flags = ['aligner.safetensors', '--port', '0', '--queue', '64', '--batch', '32'];
  const tsx = import.meta.resolve('tsx');
  child = spawn(process.execPath, ['--import', tsx, script, ...flags], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stderr!.on('data', (chunk) => {
    said += chunk;
  });
  for await (const chunk of child.stdout!) {
    port = Number(/127\.0\.0\.1:(\d+)\/align/.exec(String(chunk))?.[1]);
    break;
  }
  assert.ok(port > 0, said);
});
test.after(async () => {
  child.kill('SIGKILL');
  aligner.dispose();
  rmSync(folder, { recursive: true });
  await closeEngine();
});

const at = (path: string): string => `http://127.0.0.1:${port}${path}`;
const post = (body: unknown) => fetch(at('/align'), { method: 'POST', body: JSON.stringify(body) });
const health = async () => (await (await fetch(at('/health'))).json()) as Record<string, number>;
const rowsOf = (n: number, seed: number): number[][] =>
  Array.from({ length: n }, (_, i) => Array.from({ length: D }, (_, j) => Math.sin(seed + 10 * i + j)));

async function checkAligned(response: Response, rows: number[][]): Promise<void> {
  assert.is(response.status, 200);
  const { aligned } = (await response.json()) as { aligned: number[][] };
  const want = await aligner
    .align(tensor(engine, Float32Array.from(rows.flat()), [rows.length, D]))
    .readFloats();
  assert.is(aligned.length, rows.length);
  for (const [i, value] of aligned.flat().entries())
    assert.ok(Math.abs(value - want[i]!) < 1e-4, `${i}: ${value}`);
}

test('one request, and requests that are wrong', async () => {
  await checkAligned(await post({ latents: rowsOf(3, 1) }), rowsOf(3, 1));
  for (const [body, status, message] of [
    [{ latents: [[1, 2]] }, 400, /rows of 8 finite numbers/],
    [{ latents: [] }, 400, /rows of 8/],
    [{ latents: [Array(D).fill(null)] }, 400, /finite/],
    [null, 400, /rows of 8/],
    [{ latents: rowsOf(65, 1) }, 413, /at most 64 rows/],
  ] as const) {
    const response = await post(body);
    assert.is(response.status, status);
    assert.match(((await response.json()) as { error: string }).error, message);
  }
  assert.is((await fetch(at('/align'), { method: 'POST', body: '{' })).status, 400);
  assert.is((await fetch(at('/other'))).status, 404);
  assert.is((await fetch(at('/align'), { method: 'POST', body: 'x'.repeat((8 << 20) + 1) })).status, 413);
});

test('requests at the same time share batches, and each gets its own rows', async () => {
  const before = (await health()).batches!;
  const inputs = Array.from({ length: 16 }, (_, i) => rowsOf(1 + (i % 3), i));
  const responses = await Promise.all(inputs.map((latents) => post({ latents })));
  for (const [i, response] of responses.entries()) await checkAligned(response, inputs[i]!);
  const { batches, queued } = await health();
  assert.ok(batches! - before < inputs.length, `${batches! - before} batches for ${inputs.length} requests`);
  assert.is(queued, 0);
});

test('a full queue is 503, and what is let in is answered', async () => {
  const responses = await Promise.all(Array.from({ length: 60 }, (_, i) => post({ latents: rowsOf(30, i) })));
  const statuses = responses.map(({ status }) => status);
  assert.ok(statuses.includes(200), statuses.join());
  assert.ok(statuses.includes(503), statuses.join());
  assert.ok(
    statuses.every((status) => status === 200 || status === 503),
    statuses.join(),
  );
  const full = responses.find(({ status }) => status === 503)!;
  assert.is(full.headers.get('retry-after'), '1');
  await checkAligned(await post({ latents: rowsOf(2, 9) }), rowsOf(2, 9));
});

test('SIGTERM: a request under way is finished, then the process ends', async () => {
  const body = JSON.stringify({ latents: rowsOf(2, 3) });
  const sending = request(at('/align'), {
    method: 'POST',
    headers: { 'content-length': Buffer.byteLength(body) },
  });
  sending.write(body.slice(0, 10));
  while (!((await health()).active! > 1)) await new Promise((resolve) => setTimeout(resolve, 20));
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  while (!said.includes('SIGTERM: finishing 1 requests'))
    await new Promise((resolve) => setTimeout(resolve, 20));
  const refused = await fetch(at('/health')).catch(() => undefined);
  assert.is(refused, undefined, 'no new connection is taken');
  sending.end(body.slice(10));
  const [response] = await once(sending, 'response');
  assert.is(response.statusCode, 200);
  assert.is(response.headers.connection, 'close');
  response.resume();
  assert.equal(await ended, [0, null], said);
});

test('the batcher: one batch at a time, bounded, in order, without jobs that were given up', async () => {
  const seen: number[][] = [];
  let release = (): void => undefined;
  const work = async (inputs: number[]): Promise<number[]> => {
    seen.push(inputs);
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    if (inputs.includes(13)) throw new Error('unlucky');
    return inputs.map((input) => 2 * input);
  };
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
  const batcher = new MicroBatcher(work, { maxBatch: 4, maxQueued: 6 });
  const first = batcher.run(1, 1);
  await turn();
  const abort = new AbortController();
  const [second, given, third, fourth] = [
    batcher.run(2, 2),
    batcher.run(3, 1, abort.signal),
    batcher.run(13, 2),
    batcher.run(5, 1),
  ];
  assert.is(batcher.queued, 6);
  await batcher.run(6, 1).then(assert.unreachable, (error: unknown) => assert.ok(error instanceof QueueFull));
  abort.abort(new Error('gone'));
  await given.then(assert.unreachable, (error: Error) => assert.is(error.message, 'gone'));
  assert.is(batcher.queued, 5);
  await batcher
    .run(7, 1, abort.signal)
    .then(assert.unreachable, (error: Error) => assert.is(error.message, 'gone'));
  release();
  assert.is(await first, 2);
  await turn();
  release();
  const unlucky = (error: Error): void => assert.is(error.message, 'unlucky');
  await Promise.all([second.then(assert.unreachable, unlucky), third.then(assert.unreachable, unlucky)]);
  await turn();
  release();
  assert.is(await fourth, 10, 'a batch that fails does not end the next');
  await batcher.idle();
  assert.equal(seen, [[1], [2, 13], [5]]);
});

test.run();
