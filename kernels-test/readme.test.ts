// The README's example runs as it stands (its import pointed at the sources) and ends by itself with lower energies; the
// README stays short; every link to a file or heading in the project's pages leads somewhere.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('..', import.meta.url));
const text = (path: string): string => readFileSync(join(root, path), 'utf8');

const PAGES = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'bench/README.md',
  'bench/NOTES.md',
  'kernels-test/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** The anchors of a page's headings, as GitHub makes them. */
function anchors(page: string): string[] {
  const headings = text(page).matchAll(/^#+ (.+)$/gm);
  return [...headings].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** What a page links to and does not find. */
function deadLinks(page: string): string[] {
  const links = [...text(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => link!);
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [path, anchor] = link.split('#') as [string, string?];
    const target = path === '' ? page : join(dirname(page), path);
    if (!existsSync(join(root, target))) return true;
    return anchor !== undefined && !anchors(target).includes(anchor);
  });
}

test('the README has at most 150 lines', () => {
  const lines = text('README.md').trimEnd().split('\n').length;
  assert.ok(lines <= 150, `${lines} lines`);
});

for (const page of PAGES) {
  test(`links of ${page} lead somewhere`, () => assert.equal(deadLinks(page), []));
}

test('the embedding example of the README', () => {
  const readme = text('README.md');
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
