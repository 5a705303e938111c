// The published package: what `npm pack` makes works in somebody else's project, from JavaScript and TypeScript.
import { execFileSync, spawnSync } from 'node:child_process';
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
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';
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

/** Every package of the lock file, with whether somebody who installs ours gets it. */
const locked = Object.entries(
  (readJson(join(root, 'package-lock.json')) as { packages: Record<string, { dev?: boolean }> }).packages,
).filter(([path]) => path !== '');
const engineOnly = locked.filter(([, { dev }]) => dev !== true).map(([path]) => path);

/** Makes packages of ours visible to a folder without a download. */
function link(paths: readonly string[], folder = project): void {
  for (const path of paths) {
    const nested = path.indexOf('node_modules/', 1) > 0;
    if (nested || !existsSync(join(root, path)) || existsSync(join(folder, path))) continue;
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    symlinkSync(join(root, path), join(folder, path), 'junction');
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
  link(engineOnly);
  mkdirSync(installed);
  const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'))!;
  run('tar', '-xzf', tarball, '-C', installed, '--strip-components=1');
});

test('an app that installs it gets seven packages', () => {
  const names = engineOnly.map((path) => path.replace('node_modules/', ''));
  assert.equal(names, ['@webgpu/types', 'debug', 'gl-matrix', 'ms', 'webgpu', 'wgsl_reflect']);
});

test('it holds the compiled library and the licence, and no TypeScript source', () => {
  const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
  const packed = (name: string) => assert.ok(files.includes(join(name)), `${name} is missing`);
  for (const name of ['LICENSE', 'dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js']) packed(name);
  const sources = files.filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'));
  assert.equal(sources, []);
});

test('it holds the text of every shader in a module', async () => {
  const { shaderText } = await import(pathToFileURL(join(installed, 'dist/wgsl/library.js')).href);
  const shaders = readdirSync(join(root, 'shaders'), { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.wgsl'),
  );
  assert.ok(shaders.length > 50);
  for (const name of shaders) {
    const packed: string = shaderText(name.replaceAll('\\', '/'));
    assert.is(packed, readFileSync(join(root, 'shaders', name), 'utf8'));
  }
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

test('its parts are subpaths, which together with nothing else are the whole', () => {
  const parts = ['engine', 'nn', 'ebm', 'eli', 'data', 'report'];
  writeFileSync(
    join(project, 'parts.js'),
    `import * as all from 'eli-webgpu';
     const names = {};
     for (const part of ${JSON.stringify(parts)})
       names[part] = Object.keys(await import('eli-webgpu/' + part));
     console.log(JSON.stringify({ all: Object.keys(all), ...names }));`,
  );
  const { all, report, ...library } = JSON.parse(run(process.execPath, 'parts.js')) as Record<
    string,
    string[]
  >;
  assert.equal(Object.values(library).flat().sort(), all!.sort());
  assert.ok(report!.includes('savePicture') && !all!.includes('savePicture'));
  for (const [name, part] of Object.entries({
    matmul: 'engine',
    Linear: 'nn',
    hmc: 'ebm',
    EnergyAligner: 'eli',
  }))
    assert.ok(library[part]!.includes(name), `${name} in ${part}`);
});

/** Code that needs an optional package, and the part of the package that the error names. */
const OPTIONAL: Readonly<Record<string, string>> = {
  "data.openLatents('empty.npz')": '.npz files',
  "report.renderTable([{ head: 'x', cell: String }], [1])": 'tables for the terminal',
  "report.savePicture('x', report.curveSpec)": 'pictures',
  "report.saveAnimation('x', { trajectory: [z, z], n: 1, d: 2, target: z })": 'animations',
  'report.tsne(new Float32Array(8), 4, 2)': 't-SNE',
};

test('without the optional packages, what needs one says what to install', () => {
  writeFileSync(join(project, 'empty.npz'), 'PK');
  writeFileSync(
    join(project, 'optional.js'),
    `import * as data from 'eli-webgpu/data';
     import * as report from 'eli-webgpu/report';
     const z = new Float32Array(2);
     const says = ({ code, message, hint }) => ({ code, message, hint });
     console.log(JSON.stringify([
       ${Object.keys(OPTIONAL)
         .map((code) => `await ${code}.then(() => ({ code: 'none' }), says)`)
         .join(',\n')}
     ]));`,
  );
  const said = JSON.parse(run(process.execPath, 'optional.js')) as Record<
    'code' | 'message' | 'hint',
    string
  >[];
  const { devDependencies, peerDependenciesMeta } = readJson(join(root, 'package.json'));
  for (const [i, part] of Object.values(OPTIONAL).entries()) {
    const { code, message, hint } = said[i]!;
    assert.is(code, 'NOT_INSTALLED', part);
    assert.match(message, `a package for ${part} cannot be loaded: Cannot find`);
    const [, packages] = /^npm install (.+)$/.exec(hint)!;
    for (const wanted of packages!.split(' ')) {
      const [, name, version] = /^(.+)@([\d.]+)$/.exec(wanted)!;
      assert.ok(devDependencies[name!]?.startsWith(`${version}.`), `${wanted} is what is tested`);
      assert.ok(peerDependenciesMeta[name!].optional);
    }
  }
});

const TYPED = `import { Engine, type RunHooks, type Tensor, tensor } from 'eli-webgpu';
  import { matmul } from 'eli-webgpu/engine';
  import { Linear } from 'eli-webgpu/nn';
  import { EnergyModel } from 'eli-webgpu/ebm';
  import { EnergyAligner } from 'eli-webgpu/eli';
  import { openLatents } from 'eli-webgpu/data';
  import { savePicture } from 'eli-webgpu/report';
  const engine: Engine = await Engine.create();
  const x: Tensor = tensor(engine, [1, 2]);
  // @ts-expect-error: the types are there, and are not \`any\`
  const wrong: string = x;
  // @ts-expect-error: those of a part are the same
  matmul(x, 'x');
  export const device = engine.device;
  export type { RunHooks };
  export { EnergyAligner, EnergyModel, Linear, openLatents, savePicture, wrong };`;

for (const compiler of ['typescript-5.9', '@typescript/native']) {
  const { version } = readJson(join(root, 'node_modules', compiler, 'package.json')) as { version: string };
  for (const resolution of ['node16', 'nodenext', 'bundler']) {
    for (const lib of [['es2022'], ['es2022', 'dom']]) {
      const setting = `TypeScript ${version}, ${resolution}, ${lib.includes('dom') ? 'with' : 'without'} the DOM`;
      test(`its types satisfy a strict project that checks libraries: ${setting}`, () => {
        writeFileSync(join(project, 'use.ts'), TYPED);
        const module = resolution === 'bundler' ? 'esnext' : resolution;
        const options = { strict: true, skipLibCheck: false, noEmit: true, target: 'es2022', types: [] };
        const compilerOptions = { ...options, lib, module, moduleResolution: resolution };
        writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['use.ts'] }));
        run(process.execPath, join(root, 'node_modules', compiler, 'bin/tsc'));
      });
    }
  }
}

test("where a project has WebGPU's types, the engine's device is of them", () => {
  writeFileSync(
    join(project, 'device.ts'),
    `import { Engine } from 'eli-webgpu';
     export const device: GPUDevice = (await Engine.create()).device;
     // @ts-expect-error: a device has no such part
     device.nothing;`,
  );
  const options = ['--ignoreConfig', '--noEmit', '--strict', '--target', 'es2022', '--types', ''];
  const tsc = join(root, 'node_modules/@typescript/native/bin/tsc');
  run(process.execPath, tsc, ...options, '--lib', 'es2022,dom', '--module', 'nodenext', 'device.ts');
});

test('esbuild makes one file of an app, which runs where only Dawn is installed', async () => {
  const app = mkdtempSync(join(tmpdir(), 'eli-bundle-'));
  try {
    writeFileSync(
      join(project, 'app.js'),
      `${ALIGN}
       import { matmul, openLatents, tensor } from 'eli-webgpu';
       const engine = await Engine.create();
       console.log(...(await matmul(tensor(engine, [1, 2], [1, 2]), tensor(engine, [3, 4], [2, 1])).read()));
       engine.dispose();
       console.log(await align());
       console.log(await openLatents(import.meta.dirname + '/empty.npz').catch((error) => error.code));`,
    );
    const { warnings } = await build({
      entryPoints: [join(project, 'app.js')],
      outfile: join(app, 'app.js'),
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['webgpu'],
      absWorkingDir: project,
      logLevel: 'silent',
    });
    assert.equal(warnings, []);
    writeFileSync(join(app, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(app, 'empty.npz'), 'PK');
    link(['node_modules/webgpu'], app);
    assert.equal(readdirSync(join(app, 'node_modules')), ['webgpu']);
    const printed = execFileSync(process.execPath, ['app.js'], { cwd: app, encoding: 'utf8' });
    assert.equal(printed.trim().split('\n'), ['11', '4096', 'NOT_INSTALLED']);
  } finally {
    rmSync(app, { recursive: true, force: true });
  }
});

test('its `eli` command says what to install, and runs when that is done', () => {
  const { bin } = readJson(join(installed, 'package.json'));
  const eli = join(installed, bin.eli);
  const { status, stderr } = spawnSync(process.execPath, [eli, '--help'], { cwd: project, encoding: 'utf8' });
  assert.is(status, 1);
  const { devDependencies, peerDependencies } = readJson(join(root, 'package.json'));
  const packages = Object.keys(peerDependencies).map((name) => `${name}@${devDependencies[name]}`);
  assert.ok(packages.length > 5 && stderr.includes(`npm install ${packages.join(' ')}\n`), stderr);
  link(locked.map(([path]) => path));
  assert.match(run(process.execPath, eli, '--help'), 'Usage: eli');
});

test.run();
