// The published package: what `npm pack` makes works in somebody else's project, from JavaScript and TypeScript.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('..', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'eli-pack-'));
const modules = join(project, 'node_modules');
const installed = join(modules, 'eli-webgpu');
process.on('exit', () => rmSync(project, { recursive: true, force: true }));

const readJson = (path: string) => JSON.parse(readFileSync(path, 'utf8'));

/** Runs a program in the project; returns what it prints, fails with all of it when the program fails. */
function run(program: string, ...args: string[]): string {
  try {
    return execFileSync(program, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${program} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  }
}

/** Makes the packages that ours depends on, and no development package, visible to the project without a download. */
function linkDependencies(): void {
  const { packages } = readJson(join(root, 'package-lock.json')) as {
    packages: Record<string, { dev?: boolean }>;
  };
  for (const [path, { dev }] of Object.entries(packages)) {
    const nested = path.indexOf('node_modules/', 1) > 0;
    if (path === '' || dev || nested || !existsSync(join(root, path))) continue;
    mkdirSync(dirname(join(project, path)), { recursive: true });
    symlinkSync(join(root, path), join(project, path), 'junction');
  }
}

// Not a `before` hook: uvu hides what a hook throws.
test('npm packs it', () => {
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }');
  execFileSync('npm', ['pack', '--silent', '--pack-destination', project], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    shell: process.platform === 'win32',
  });
  linkDependencies();
  mkdirSync(installed);
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'))!;
  run('tar', '-xzf', tarball, '-C', installed, '--strip-components=1');
});

test('it holds the compiled library, every shader and the licence, and no TypeScript source', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
  const packed = (name: string) => assert.ok(files.includes(join(name)), `${name} is missing`);
  for (const name of ['LICENSE', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js']) packed(name);
  for (const name of readdirSync(join(root, 'shaders'), { recursive: true, encoding: 'utf8' }))
    packed(join('shaders', name));
  const sources = files.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  assert.equal(sources, []);
});

test('it computes when imported from plain JavaScript, and Node ends by itself', () => {
  writeFileSync(
    join(project, 'use.js'),
    `import { Engine, matmul, tensor } from 'eli-webgpu';
     const engine = await Engine.create();
     const product = matmul(tensor(engine, [1, 2, 3, 4], [2, 2]), tensor(engine, [5, 6], [2, 1]));
     console.log(...(await product.read()));
     engine.dispose();`,
  );
  assert.is(run(process.execPath, 'use.js').trim(), '17 39');
});

/** Learns an aligner on random latents and aligns them; says how many values are finite. */
const ALIGN = `import { EnergyAligner, Engine, randomNormal } from 'eli-webgpu';
export async function align() {
  const engine = await Engine.create();
  const latents = (seed) => randomNormal(engine, [256, 16], { seed });
  const aligner = await EnergyAligner.fit(engine, { previous: latents(1), current: latents(2) }, { iterations: 20 });
  const aligned = await aligner.align(latents(3)).readFloats();
  engine.dispose();
  return aligned.filter(Number.isFinite).length;
}`;

test('it aligns random latents, in the main thread and in a worker at the same time, and Node ends', () => {
  writeFileSync(join(project, 'align.js'), ALIGN);
  writeFileSync(
    join(project, 'threads.js'),
    `import { isMainThread, parentPort, Worker } from 'node:worker_threads';
     import { align } from './align.js';
     if (!isMainThread) parentPort.postMessage(await align());
     else {
       const worker = new Worker(new URL(import.meta.url));
       const theirs = new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
       console.log(await align(), await theirs);
     }`,
  );
  assert.is(run(process.execPath, 'threads.js').trim(), '4096 4096');
});

test("its types satisfy a user's strict compiler", () => {
  writeFileSync(
    join(project, 'use.ts'),
    `import { Engine, type Tensor, tensor } from 'eli-webgpu';
     const engine: Engine = await Engine.create();
     const device: GPUDevice = engine.device;
     const x: Tensor = tensor(engine, [1, 2]);
     // @ts-expect-error: the types are there, and are not \`any\`
     const wrong: string = x;
     export { device, wrong };`,
  );
  const tsc = join(createRequire(import.meta.url).resolve('@typescript/native/package.json'), '../bin/tsc');
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    '--target',
    'es2022',
    '--types',
    '',
  ];
  run(process.execPath, tsc, ...options, '--lib', 'es2022', '--module', 'nodenext', 'use.ts');
});

test('its `eli` command runs', () => {
  const { bin } = readJson(join(installed, 'package.json'));
  assert.match(run(process.execPath, join(installed, bin.eli), '--help'), 'Usage: eli');
});

test.run();
