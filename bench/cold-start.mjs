// How long a fresh process takes with an empty shader cache: to its first training step of the MNIST experiment, and to
// the aligner's first iteration.
//
//   node bench/cold-start.mjs            # the sources, as in a clone
//   node bench/cold-start.mjs --dist     # what is published, after `npm run build`
//
// Each figure is the median of fresh processes; `--runs 5` sets how many. `--phases` says where the time goes.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: flags } = parseArgs({
  options: {
    dist: { type: 'boolean', default: false },
    phases: { type: 'boolean', default: false },
    runs: { type: 'string', default: '3' },
    child: { type: 'string' },
    latent: { type: 'string', default: '32' },
  },
});

/** Loads a module of the package, by its path in src without ending. */
const load = (path) => import(flags.dist ? `../dist/${path}.js` : `../src/${path}.ts`);

/** Says to the parent that something is done, and the CPU time so far: on a busy machine that says more than the clock. */
function done(what) {
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${what}\t${(user + system) / 1e6}\n`);
}

/** As `eli run mnist` goes about it: the command line, data, device, all images uploaded, one step. */
async function firstStep(latent) {
  await load('cli/main');
  const [{ Engine }, { loadMnist }, { mnistConfig }, { taskTrainer, twoTaskModel, twoTasks }, { withScope }] =
    await Promise.all(
      [
        'gpu/engine',
        'data/mnist',
        'experiments/mnist/config',
        'experiments/mnist/two-task',
        'tensor/scope',
      ].map(load),
    );
  done('modules');
  const mnist = await loadMnist();
  done('data read');
  const engine = await Engine.create();
  done('device');
  await withScope(engine, async (scope) => {
    const config = mnistConfig({ latent });
    const { train1, pixels } = twoTasks(engine, mnist, scope);
    await engine.sync();
    done('data on the device');
    const { net, optimizer } = twoTaskModel(engine, config, pixels);
    await taskTrainer(net, optimizer, 1, train1, config).run(1);
    done('first step');
  });
  engine.dispose();
}

async function firstIteration(latent) {
  const { EnergyAligner, Engine, randomNormal } = await load('index');
  const engine = await Engine.create();
  const previous = randomNormal(engine, [29_404, latent], { seed: 1 });
  const current = randomNormal(engine, [29_404, latent], { seed: 2 }, 0.3, 1.04);
  await engine.sync();
  done('called');
  const aligner = await EnergyAligner.fit(engine, { previous, current }, { iterations: 1 });
  await engine.sync();
  done('first iteration');
  aligner.dispose();
  engine.dispose();
}

const CHILDREN = { firstStep, firstIteration };

/** Seconds from the start of a fresh process, or from its line `from`, to each line it says. */
function measure(child, latent, from) {
  const cache = mkdtempSync(join(tmpdir(), 'eli-cold-'));
  return new Promise((resolve, reject) => {
    const start = { wall: performance.now() / 1000, cpu: 0 };
    const args = [fileURLToPath(import.meta.url), '--child', child, '--latent', latent];
    const fresh = spawn(process.execPath, flags.dist ? [...args, '--dist'] : args, {
      // Where Mesa, NVIDIA's driver and this package keep what they compiled and measured.
      env: {
        ...process.env,
        XDG_CACHE_HOME: cache,
        MESA_SHADER_CACHE_DIR: cache,
        __GL_SHADER_DISK_CACHE_PATH: cache,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const times = new Map();
    let origin = from === undefined ? start : undefined;
    let errors = '';
    fresh.stderr.on('data', (chunk) => {
      errors += chunk;
    });
    fresh.stdout.on('data', (chunk) => {
      const now = performance.now() / 1000;
      for (const [, line, seconds] of chunk.toString().matchAll(/(.+)\t(.+)\n/g)) {
        const cpu = Number(seconds);
        if (line === from) origin = { wall: now, cpu };
        else if (origin !== undefined) times.set(line, { wall: now - origin.wall, cpu: cpu - origin.cpu });
      }
    });
    fresh.on('error', reject);
    fresh.on('close', (code) => {
      rmSync(cache, { recursive: true });
      if (code === 0) resolve(times);
      else reject(new Error(`${child} ended with code ${code}:\n${errors}`));
    });
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

async function report(name, goal, ...what) {
  const runs = [];
  for (let i = 0; i < Number(flags.runs); i++) runs.push(await measure(...what));
  const lines = [...runs[0].keys()];
  const at = (line, clock) => median(runs.map((times) => times.get(line)[clock])).toFixed(2);
  const show = (line) => `${at(line, 'wall')} s, ${at(line, 'cpu')} s of CPU`;
  const walls = runs.map((times) => times.get(lines.at(-1)).wall.toFixed(2)).join(', ');
  console.log(`${name}: ${show(lines.at(-1))} (goal ${goal} s; each run: ${walls})`);
  if (flags.phases) for (const line of lines) console.log(`    ${line} after ${show(line)}`);
}

if (flags.child !== undefined) {
  if (!flags.dist) (await import('tsx/esm/api')).register();
  await CHILDREN[flags.child](Number(flags.latent));
} else {
  for (const latent of ['32', '512']) {
    await report(`start to first training step, d = ${latent}`, 3, 'firstStep', latent);
  }
  for (const latent of ['32', '512']) {
    await report(`call to first aligner iteration, d = ${latent}`, 5, 'firstIteration', latent, 'called');
  }
}
