// Compiles src to dist for the published package (`npm run build`; `npm pack` runs it first).
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

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

// The compiler rewrites the `.ts` of imports in the JavaScript only, not in the declarations.
for (const file of readdirSync(dist, { recursive: true })) {
  if (!file.endsWith('.d.ts')) continue;
  const path = join(dist, file);
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replace(/((?:from|import)[ (]*['"]\.[^'"]*)\.ts(?=['"])/g, '$1.js'));
}

// The public types mention WebGPU's and Symbol.dispose; without this a user would have to name both in a tsconfig.
const index = join(dist, 'index.d.ts');
const references = '/// <reference types="@webgpu/types" />\n/// <reference lib="esnext.disposable" />\n';
writeFileSync(index, references + readFileSync(index, 'utf8'));
