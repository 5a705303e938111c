// The README's example runs as it stands (its import pointed at the sources) and ends by itself with lower energies.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('..', import.meta.url));

test('the embedding example of the README', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const example = /<!-- example -->\n```js\n([\s\S]*?)```/.exec(readme)?.[1];
  assert.ok(example, 'README.md has an example');
  const lines = example.split('\n').filter((line) => line.trim() !== '' && !line.startsWith('//')).length;
  assert.ok(lines >= 15 && lines <= 25, `the example has ${lines} lines`);

  const folder = mkdtempSync(join(tmpdir(), 'eli-readme-'));
  try {
    const file = join(folder, 'example.mjs');
    writeFileSync(file, example.replace("'eli-webgpu'", JSON.stringify(join(root, 'src/index.ts'))));
    const tsx = join(root, 'node_modules/tsx/dist/loader.mjs');
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', tsx, file], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 600_000,
    });
    assert.is(status, 0, stderr);
    const energy = (when: string): number =>
      Number(new RegExp(`mean energy ${when}\\s+(\\S+)`).exec(stdout)?.[1]);
    assert.ok(energy('after') < energy('before'), stdout);
    assert.ok(existsSync(join(folder, 'aligner.safetensors')), 'the aligner was saved');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
