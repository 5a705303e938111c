// The MNIST experiment on a small part of the real images: it learns, the same seed gives the same bytes, a run that
// is stopped anywhere goes on to the same bytes, and wrong use is refused.
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EliError } from '../src/errors.ts';
import { type MnistConfig, mnistConfig } from '../src/experiments/mnist/config.ts';
import { runMnist } from '../src/experiments/mnist/run.ts';
import { RunStopped } from '../src/experiments/session.ts';
import { type Progress, silentProgress } from '../src/report/progress.ts';
import { closeEngine, openEngine } from './support/engine.ts';
import { runInSession, smallMnist } from './support/mnist.ts';

const engine = await openEngine();
const root = mkdtempSync(join(tmpdir(), 'eli-mnist-'));
test.after(async () => {
  rmSync(root, { recursive: true });
  await closeEngine();
});

const mnist = await smallMnist(3000, 600);
const config = mnistConfig({ epochs: 3, iterations: 300, curveEvery: 100 });

function folderOf(name: string): string {
  const folder = join(root, name);
  mkdirSync(folder);
  return folder;
}

const quiet = { progress: silentProgress, pictures: false };

test('learns both tasks and aligns; the same seed twice gives the same bytes', async () => {
  const folders = [folderOf('once'), folderOf('twice')];
  for (const folder of folders) {
    const metrics = await runMnist(engine, config, mnist, { ...quiet, folder, resume: false });
    assert.ok(metrics.task1 > 90, `task 1 after task 1: ${metrics.task1}`);
    assert.ok(metrics.task2 > 75, `task 2: ${metrics.task2}`);
    assert.equal(
      metrics.curve.map((point) => point.iteration),
      [0, 100, 200, 300],
    );
  }
  for (const file of ['metrics.json', 'checkpoint.safetensors', 'aligner.safetensors']) {
    const [a, b] = folders.map((folder) => readFileSync(join(folder, file)));
    assert.ok(a!.equals(b!), `${file} is the same`);
  }
});

/** Where runs are stopped: as the progress of a stage has come so far, or some milliseconds after its begin. */
const STOPS = [
  { label: 'task 1', done: 1 },
  { label: 'task 1', done: 12 },
  { label: 'task 2', done: 20 },
  { label: 'aligner', done: 200 },
  { label: 'aligner', after: 0 },
  { label: 'aligner', after: 40 },
];
for (const { label, done = Number.POSITIVE_INFINITY, after } of STOPS) {
  const where = `${label} ${after === undefined ? `at ${done}` : `after ${after} ms`}`;
  test(`stopped in ${where} and resumed, it ends with the same bytes`, async () => {
    const folder = folderOf(`stopped in ${where}`);
    const stop = new AbortController();
    const counting: Progress = (stage) => {
      if (stage === label && after !== undefined) setTimeout(() => stop.abort(), after);
      return {
        update: (count) => {
          if (stage === label && count >= done) stop.abort();
        },
        done: () => undefined,
      };
    };
    try {
      await runMnist(engine, config, mnist, {
        ...quiet,
        folder,
        resume: false,
        progress: counting,
        signal: stop.signal,
      });
      assert.unreachable('the run was to stop');
    } catch (error) {
      assert.instance(error, RunStopped, String(error));
    }
    await runMnist(engine, config, mnist, { ...quiet, folder, resume: true });
    for (const file of ['metrics.json', 'checkpoint.safetensors', 'aligner.safetensors', 'log.jsonl']) {
      const [a, b] = [folder, join(root, 'once')].map((from) => readFileSync(join(from, file)));
      assert.ok(a!.equals(b!), `${file} is the same`);
    }
  });
}

async function refused(code: string, part: RegExp, run: () => unknown): Promise<void> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, EliError);
    assert.is((error as EliError).code, code);
    assert.match((error as EliError).message, part);
    return;
  }
  assert.unreachable('no error');
}

test('refuses a used folder, a resume with another config, a broken checkpoint, bad configs', async () => {
  const run = { ...quiet, folder: join(root, 'once'), resume: false };
  await refused('RUN_FOLDER', /already holds files/, () => runInSession(engine, config, mnist, run));
  const other = { ...config, learningRate: 0.2 };
  await refused('CONFIG', /learningRate was 0.1, is now 0.2/, () =>
    runMnist(engine, other, mnist, { ...run, resume: true }),
  );
  await refused('CONFIG', /unknown config key lattent/, () =>
    mnistConfig({ lattent: 3 } as Partial<MnistConfig>),
  );
  await refused('CONFIG', /latent is 0/, () => mnistConfig({ latent: 0 }));
  await refused('CONFIG', /emaDecay is 2/, () => mnistConfig({ emaDecay: 2 }));
  const empty = { ...run, folder: folderOf('empty'), resume: true };
  await refused('RUN_FOLDER', /no run to resume/, () => runInSession(engine, config, mnist, empty));
});

test('a loss that is not finite stops the run, names the step, and keeps the last checkpoint', async () => {
  const folder = folderOf('diverging');
  const wild = mnistConfig({ ...config, learningRate: 100, momentum: 50 });
  await refused('NON_FINITE', /task 1: the loss is .* in epoch \d+, step \d+/, () =>
    runMnist(engine, wild, mnist, { ...quiet, folder, resume: false }),
  );
});

test.run();
