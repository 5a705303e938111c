// Files are written whole or not at all.
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkWritable, writeFileAtomic } from '../src/files/atomic.ts';
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
  // Also one whose target does not exist yet, through another link in another folder.
  mkdirSync(join(dir, 'deep'));
  symlinkSync('deep/second', join(dir, 'first'));
  symlinkSync('../third', join(dir, 'deep', 'second'));
  await checkWritable(join(dir, 'first'));
  await writeFileAtomic(join(dir, 'first'), 'dangling');
  assert.is(readlinkSync(join(dir, 'first')), 'deep/second');
  assert.is(readlinkSync(join(dir, 'deep', 'second')), '../third');
  assert.is(readFileSync(join(dir, 'third'), 'utf8'), 'dangling');
  symlinkSync('no/such', join(dir, 'lost'));
  await fails(() => writeFileAtomic(join(dir, 'lost'), 'new'), 'FILE', /no such file or folder/);
  symlinkSync('loop', join(dir, 'loop'));
  await fails(() => writeFileAtomic(join(dir, 'loop'), 'new'), 'FILE', /loop/);
  assert.equal(readdirSync(dir), ['deep', 'first', 'latest', 'loop', 'lost', 'old.txt', 'third']);
});

test('the file that is replaced passes on its mode and owner', async () => {
  if (process.platform === 'win32') return;
  const { path } = withOldFile();
  for (const mode of [0o600, 0o640, 0o755, 0o666]) {
    chmodSync(path, mode);
    await writeFileAtomic(path, 'new');
    assert.is(statSync(path).mode & 0o7777, mode);
  }
  if (process.getuid?.() !== 0) return; // only root may give files away
  chownSync(path, 1234, 5678);
  chmodSync(path, 0o6755);
  await writeFileAtomic(path, 'new');
  const { uid, gid, mode } = statSync(path);
  assert.equal([uid, gid, mode & 0o7777], [1234, 5678, 0o6755]);
});

test('what replaces a private file is private while it is written', async () => {
  if (process.platform === 'win32') return;
  const { dir, path } = withOldFile();
  chmodSync(path, 0o600);
  let seen = 0;
  async function* pieces(): AsyncGenerator<string> {
    yield 'secret';
    for (const name of readdirSync(dir)) seen |= statSync(join(dir, name)).mode & 0o777;
  }
  await writeFileAtomic(path, pieces());
  assert.is(seen, 0o600);
});

test('whether a file can be written is known before there is anything to write', async () => {
  const { dir, path } = withOldFile();
  await checkWritable(path);
  await checkWritable(join(dir, 'new.txt'));
  await checkWritable(join(dir, 'a', 'b', 'new.txt'), { makesFolder: true });
  await fails(() => checkWritable(join(dir, 'no', 'x')), 'FILE', /no\/x/, /no such file or folder/);
  await fails(() => checkWritable(join(path, 'x')), 'FILE', /not a folder/);
  await fails(() => checkWritable(join(path, 'a', 'x'), { makesFolder: true }), 'FILE', /not a folder/);
  await fails(() => checkWritable(dir), 'FILE', /it is a folder/);
  assert.is(readFileSync(path, 'utf8'), 'old');
  assert.equal(readdirSync(dir), ['old.txt']);
});

test('a file that may not be written, by a user who is not root', async () => {
  if (process.platform === 'win32' || process.getuid?.() !== 0) return;
  const { dir, path } = withOldFile();
  chmodSync(path, 0o444);
  chmodSync(folder, 0o755);
  chmodSync(dir, 0o777);
  const module = new URL('../src/files/atomic.ts', import.meta.url).href;
  const script = `const { writeFileAtomic, checkWritable } = await import(${JSON.stringify(module)});
    process.setgid(65534);
    process.setuid(65534);
    for (const act of [checkWritable, writeFileAtomic])
      await act(${JSON.stringify(path)}, 'new').then(() => console.log('done'), (error) => console.log(error.message));`;
  const said = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    encoding: 'utf8',
  });
  assert.is(said.match(/permission denied/g)?.length, 2, said);
  assert.is(readFileSync(path, 'utf8'), 'old');
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
