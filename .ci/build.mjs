// Compiles src to dist for the published package (`npm run build`; `npm pack` runs it first).
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const dist = join(root, 'dist');
const tsc = createRequire(import.meta.url)
  .resolve('@typescript/native/package.json')
  .replace('package.json', 'bin/tsc');

rmSync(dist, { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit',
});
if (status !== 0) process.exit(1);

const declarations = readdirSync(dist, { recursive: true }).filter((file) => file.endsWith('.d.ts'));
/** Global types in the declarations that a project need not have. */
const globals = new Set();
for (const file of declarations) {
  const path = join(dist, file);
  writeFileSync(path, forEveryProject(file.replaceAll('\\', '/'), readFileSync(path, 'utf8')));
}
writeFileSync(join(dist, 'globals.d.ts'), globalTypes());
writeFileSync(join(dist, 'wgsl/library.js'), shaderTexts());
await joinModules();

/**
 * A declaration as it must be for the compiler of any project, which may lack the DOM, the types of WebGPU and of Node,
 * and the optional packages.
 */
function forEveryProject(file, text) {
  // The compiler rewrites the `.ts` of imports in the JavaScript only.
  let code = text.replace(/((?:from|import)[ (]*['"]\.[^'"]*)\.ts(?=['"])/g, '$1.js');
  // Where a package or its types are missing, its types are `any`.
  code = code.replace(/^import [^;]* from '[^.][^']*';$/gm, '// @ts-ignore\n$&');
  const used = new Set(code.replace(/\/\*[\s\S]*?\*\//g, '').match(/\b(GPU([A-Z]\w*)?|AbortSignal|URL)\b/g));
  if (used.size > 0) {
    const up = '../'.repeat(file.split('/').length - 1) || './';
    code = `import type { ${[...used].sort().join(', ')} } from '${up}globals.js';\n${code}`;
    for (const name of used) globals.add(name);
  }
  return /\bSymbol\.dispose\b/.test(code) ? `/// <reference lib="esnext.disposable" />\n${code}` : code;
}

/**
 * The global types by name: those of the project, else stand-ins. A reference to the DOM or to @webgpu/types instead
 * would bring the DOM into a project without it, and define WebGPU twice where TypeScript's DOM has it.
 */
function globalTypes() {
  const types = [...globals].sort().map((name) => `export type ${name} = Global<'${name}'>;\n`);
  return `/** A global class; without one of that name in the project's \`lib\` and \`types\`, not checked. */
type Global<Name extends string> = typeof globalThis extends Record<Name, { prototype: infer T }> ? T : any;
${types.join('')}`;
}

/** The module in which a bundle finds the shaders; see src/wgsl/library.ts. */
function shaderTexts() {
  const shaders = join(root, 'shaders');
  const entries = readdirSync(shaders, { recursive: true })
    .filter((file) => file.endsWith('.wgsl'))
    .sort()
    .map((file) => {
      const text = readFileSync(join(shaders, file), 'utf8').replace(/[\\`]|\$\{/g, '\\$&');
      return `  ['${file.replaceAll('\\', '/')}', \`${text}\`],\n`;
    });
  return `const SHADERS = new Map([\n${entries.join('')}]);
export const shaderText = (name) => SHADERS.get(name);\n`;
}

/**
 * Joins the modules into a few that the entry points share: Node takes longer to find and open two hundred files than to
 * run them. Those in `chunks` are as deep as those of a room, so that paths relative to a module stay right.
 */
async function joinModules() {
  const entries = Object.values(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports)
    .map((entry) => entry.default)
    .filter((path) => path !== undefined);
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: [...entries, 'dist/cli/main.js', 'dist/wgsl/library.js'],
    outdir: 'dist',
    outbase: 'dist',
    chunkNames: 'chunks/[name]-[hash]',
    allowOverwrite: true,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.11',
    packages: 'external',
    keepNames: true,
    metafile: true,
    logLevel: 'warning',
  });
  for (const file of readdirSync(dist, { recursive: true })) {
    const path = `dist/${file.replaceAll('\\', '/')}`;
    if (path.endsWith('.js') && !(path in metafile.outputs)) rmSync(join(root, path));
  }
}
