// Files are written whole or not at all.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { writeFileAtomic } from '../src/files/atomic.ts';
import { fileError } from '../src/files/files.ts';
import { fails, temporaryFolder } from './support/data.ts';

const folder = temporaryFolder();
let number = 0;

/** A folder that holds `old.txt` with the text "old". */
function withOldFile(): { dir: string; path: string } {
  const dir = join(folder, String(number++));
  mkdirSync(dir);
  const path = join(dir, 'old.txt');
  writeFileSync(path, 'old');
  return { dir, path };
}

test('text, bytes and pieces', async () => {
  const { dir, path } = withOldFile();
  await writeFileAtomic(path, 'größer');
  assert.is(readFileSync(path, 'utf8'), 'größer');
  await writeFileAtomic(path, new Uint8Array([1, 2, 3]));
  assert.equal([...readFileSync(path)], [1, 2, 3]);
  await writeFileAtomic(path, ['a', new Uint8Array([98]), '', 'c']);
  assert.is(readFileSync(path, 'utf8'), 'abc');
  await writeFileAtomic(
    path,
    (async function* () {
      yield 'x';
      yield 'y'.repeat(300_000);
    })(),
  );
  assert.is(readFileSync(path, 'utf8').length, 300_001);
  await writeFileAtomic(path, '');
  assert.is(readFileSync(path, 'utf8'), '');
  await writeFileAtomic(join(dir, 'n'.repeat(255)), 'long name');
  assert.equal(readdirSync(dir), ['n'.repeat(255), 'old.txt']);
});

test('twenty writers of one file: one of them wins whole', async () => {
  const { dir, path } = withOldFile();
  await Promise.all(
    Array.from({ length: 20 }, (_, i) => writeFileAtomic(path, String(i % 10).repeat(50_000))),
  );
  const text = readFileSync(path, 'utf8');
  assert.is(text, text[0]!.repeat(50_000));
  assert.equal(readdirSync(dir), ['old.txt']);
});

test('when the pieces fail, the old file stays and nothing is left over', async () => {
  const { dir, path } = withOldFile();
  const own = new Error('from the iterator');
  async function* broken(): AsyncGenerator<string> {
    yield 'new '.repeat(100_000);
    throw own;
  }
  try {
    await writeFileAtomic(path, broken());
    assert.unreachable();
  } catch (error) {
    assert.is(error, own);
  }
  assert.is(readFileSync(path, 'utf8'), 'old');
  assert.equal(readdirSync(dir), ['old.txt']);
});

test('a missing folder, a folder, a device', async () => {
  const { dir } = withOldFile();
  await fails(() => writeFileAtomic(join(dir, 'no', 'x'), 'new'), 'FILE', /no\/x/, /no such file or folder/);
  await fails(() => writeFileAtomic(join(dir, 'old.txt', 'x'), 'new'), 'FILE', /not a folder/);
  await fails(() => writeFileAtomic(dir, 'new'), 'FILE', /it is a folder/);
  // A rename would replace the device by a file.
  if (process.platform !== 'win32') await fails(() => writeFileAtomic('/dev/null', 'new'), 'FILE', /device/);
  assert.equal(readdirSync(dir), ['old.txt']);
});

test('a symbolic link stays one', async () => {
  if (process.platform === 'win32') return;
  const { dir, path } = withOldFile();
  const link = join(dir, 'latest');
  symlinkSync('old.txt', link);
  await writeFileAtomic(link, 'new');
  assert.is(readlinkSync(link), 'old.txt');
  assert.is(readFileSync(path, 'utf8'), 'new');
});

test('a folder that may not be written', async () => {
  if (process.platform === 'win32' || process.getuid?.() === 0) return; // root may write everywhere
  const { dir, path } = withOldFile();
  chmodSync(dir, 0o500);
  await fails(() => writeFileAtomic(path, 'new'), 'FILE', /permission denied/, /old\.txt/);
  chmodSync(dir, 0o700);
  assert.is(readFileSync(path, 'utf8'), 'old');
  assert.equal(readdirSync(dir), ['old.txt']);
});

test('a disk that is full: what is said', async () => {
  for (const [code, said] of Object.entries({
    ENOSPC: /no space left/,
    EROFS: /read-only/,
    EACCES: /permission/,
  })) {
    const cause = Object.assign(new Error(`${code}: x`), { code });
    await fails(
      () => {
        throw fileError('write', '/a/b', cause);
      },
      'FILE',
      /cannot write \/a\/b/,
      said,
      /→ /,
    );
  }
});

test('a write that the system cuts off: the old file stays and nothing is left over', async () => {
  if (process.platform === 'win32') return;
  // A limit on the size of files breaks a write in the middle, like a full disk, and needs no disk to fill.
  const { dir, path } = withOldFile();
  const module = new URL('../src/files/atomic.ts', import.meta.url).href;
  const script = join(dir, 'write.mjs');
  writeFileSync(
    script,
    `const { writeFileAtomic } = await import(${JSON.stringify(module)});
     await writeFileAtomic(${JSON.stringify(path)}, ['x'.repeat(200_000), 'y'.repeat(2_000_000)])
       .then(() => console.log('written'), (error) => console.log(error.code, error.message));`,
  );
  const said = execFileSync(
    'sh',
    ['-c', 'ulimit -f 2000; exec "$0" --import tsx "$1"', process.execPath, script],
    {
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      encoding: 'utf8',
    },
  );
  assert.match(said, /^FILE cannot write .*old\.txt: the file is larger than the limit/);
  assert.is(readFileSync(path, 'utf8'), 'old');
  assert.equal(readdirSync(dir), ['old.txt', 'write.mjs']);
});

test.run();
