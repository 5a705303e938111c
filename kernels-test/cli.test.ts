// The command line as a whole: its version. Each command has tests of its own.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const cli = fileURLToPath(new URL('../src/cli/eli.mjs', import.meta.url));
const eli = (...flags: string[]) => spawnSync(process.execPath, [cli, ...flags], { encoding: 'utf8' });

test('eli --version is the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const { status, stdout } = eli('--version');
  assert.is(stdout, `${version}\n`);
  assert.is(status, 0);
});

test.run();
