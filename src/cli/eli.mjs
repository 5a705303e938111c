#!/usr/bin/env node
// The `eli` command. In a clone it runs the TypeScript sources, never an outdated dist; the published package has only
// dist.
import { existsSync, readFileSync } from 'node:fs';

// A reader that stops early (`eli … --help | head`) is not an error.
process.stdout.on('error', (error) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

/** Makes Node read TypeScript; false when the clone's packages are not installed. */
async function readTypeScript() {
  try {
    (await import('tsx/esm/api')).register();
    return true;
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return false;
  }
}

/** The packages of the command line and of pictures are not installed with the published package. */
function saysWhatToInstall(error) {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  // Their versions are those that the package is tested with.
  const packages = Object.keys(manifest.peerDependencies).map(
    (name) => `${name}@${manifest.devDependencies[name]}`,
  );
  process.stderr.write(
    `eli: the command line needs packages that are not installed with the engine: ${error.message}\n` +
      `  → npm install ${packages.join(' ')}\n`,
  );
  process.exit(1);
}

if (!existsSync(new URL('./main.ts', import.meta.url))) {
  const { main } = await import('../../dist/cli/main.js').catch(saysWhatToInstall);
  process.exitCode = await main(process.argv.slice(2));
} else if (await readTypeScript()) {
  const { main } = await import('./main.ts');
  process.exitCode = await main(process.argv.slice(2));
} else {
  process.stderr.write(
    'eli: the packages are not installed; run `npm ci`, or `npm start`, which does it for you\n',
  );
  process.exitCode = 1;
}
