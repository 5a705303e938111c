#!/usr/bin/env node
// The `eli` command. In a clone it runs the TypeScript sources, never an outdated dist; the published package has only
// dist.
import { existsSync } from 'node:fs';

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

if (!existsSync(new URL('./main.ts', import.meta.url))) {
  const { main } = await import('../../dist/cli/main.js');
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
