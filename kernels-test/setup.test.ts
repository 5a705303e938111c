// What `npm start` and `npm test` do on a machine without a driver, told by the commands that they would run: nothing here
// runs apt.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
// @ts-expect-error plain JavaScript, because it runs before anything is installed
import { installMesa } from '../src/cli/setup-apt.mjs';
// @ts-expect-error plain JavaScript
import { wrongLibc } from '../src/cli/setup-vulkan.mjs';

const folder = mkdtempSync(join(tmpdir(), 'eli-setup-'));
test.after(() => rmSync(folder, { recursive: true }));

const sources = join(folder, 'debian.sources');
writeFileSync(
  sources,
  'Types: deb deb-src\nURIs: http://mirror/debian\nSuites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /k.gpg\n',
);

/** Runs the installation on a made-up machine; `said` and `ran` tell in which order things happened. */
function install(mesa: string, works: (ran: readonly string[]) => boolean, uid = 0) {
  const ran: string[] = [];
  const files: Record<string, string[]> = {};
  const answer = (stdout = '') => ({ status: 0, stdout, stderr: '' });
  const run = (command: string[], input = '') => {
    const text = command.join(' ');
    if (text.includes('indextargets'))
      return answer(text.endsWith('Codename: bookworm') ? `${sources}:1 http://mirror/debian/\n` : '');
    if (text.includes('apt-cache')) return answer(`  Candidate: ${mesa}\n`);
    if (text.includes(' -s ')) {
      return answer(`Inst libc6 (2.36 Debian:12.15/oldstable [amd64])
Inst libdrm2 [2.4.114] (2.4.123 Debian Backports:oldstable-backports [amd64])
Inst mesa-vulkan-drivers (25.0.7 Debian Backports:oldstable-backports [amd64])`);
    }
    if (/^(sh|sudo -n true)/.test(text)) return answer();
    const path = command.at(-1)!;
    if (text.includes('tee ')) files[path] = [...(files[path] ?? []), input];
    ran.push(text);
    return answer();
  };
  const said: string[] = [];
  const say = (line: string): void => {
    said.push(line);
    ran.push(`say ${line}`);
  };
  const release = { ID: 'debian', VERSION_CODENAME: 'bookworm' };
  const done = installMesa({ say, works: () => works(ran), run, release, uid });
  return { done, ran, said, files };
}

const PIN = '/etc/apt/preferences.d/eli-backports';
const SOURCE = '/etc/apt/sources.list.d/eli-backports.sources';

test('it says what it installs, how, and how to turn it off, before it runs anything', () => {
  const { done, ran } = install('25.0.7-2', () => true, 1000);
  assert.ok(done);
  assert.match(ran[0]!, /^say SYSTEM PACKAGES .* through sudo: mesa-vulkan-drivers libvulkan1/);
  assert.match(ran[1]!, /^say .*ELI_SETUP=no/);
  assert.ok(
    ran.some((line) => /^sudo -n env .*apt-get .*install .*--no-remove mesa-vulkan-drivers/.test(line)),
  );
  assert.not.ok(
    ran.some((line) => line.includes('backports')),
    'no source is added where none is needed',
  );
});

test('backports is pinned before it is added, gives the driver alone, and goes by one command', () => {
  const { done, ran, said, files } = install('22.3.6-1', () => true);
  assert.ok(done);
  const at = (words: string): number => ran.findIndex((line) => line.startsWith(words));
  assert.ok(at(`tee ${PIN}`) >= 0 && at(`tee ${PIN}`) < at(`tee ${SOURCE}`));
  assert.is(files[SOURCE]!.length, 1);
  assert.match(
    files[SOURCE]![0]!,
    /^Types: deb\nURIs: http:\/\/mirror\/debian\nSuites: bookworm-backports\nComponents: main\nSigned-By/,
  );
  const nothing = 'Package: *\nPin: release n=bookworm-backports\nPin-Priority: -1\n';
  const [first, last] = files[PIN]!;
  assert.ok(first!.endsWith(nothing));
  assert.ok(
    last!.endsWith(
      `${nothing}\nPackage: mesa-vulkan-drivers libdrm2\nPin: release n=bookworm-backports\nPin-Priority: 990\n`,
    ),
    last,
  );
  assert.not.ok(
    ran.some((line) => /install .*-t /.test(line)),
    'nothing else is preferred from there',
  );
  assert.match(said.at(-1)!, new RegExp(`remove the source and its pin .*: rm -f ${SOURCE} ${PIN}$`));
});

test('a source that did not help is removed with its pin', () => {
  const { done, ran } = install('22.3.6-1', () => false);
  assert.not.ok(done);
  assert.is(ran.at(-1), `rm -f ${SOURCE} ${PIN}`);
});

test('Alpine and an old glibc are named', () => {
  const alpine = { ID: 'alpine', PRETTY_NAME: 'Alpine Linux v3.22' };
  assert.match(wrongLibc({}, alpine), /glibc 2\.34 or newer; Alpine Linux v3\.22 has musl.*node:22-bookworm/);
  assert.match(wrongLibc({ glibcVersionRuntime: '2.31' }, {}), /this system has glibc 2\.31/);
  for (const version of ['2.34', '2.40', '3.0'])
    assert.is(wrongLibc({ glibcVersionRuntime: version }, {}), undefined);
});

test('ELI_SETUP=no installs nothing and says what is missing', () => {
  if (process.platform !== 'linux') return;
  for (const name of ['apt-get', 'sudo', 'npm']) {
    writeFileSync(join(folder, name), `#!/bin/sh\ntouch ${join(folder, 'called')}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const { VK_DRIVER_FILES: _, VK_ICD_FILENAMES: _too, ...env } = process.env;
  // The Vulkan loader then finds no driver.
  const none = { VK_LOADER_DRIVERS_DISABLE: '*', PATH: `${folder}:${env.PATH}`, ELI_SETUP: 'no' };
  const script = fileURLToPath(new URL('../src/cli/setup.mjs', import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [script], {
    env: { ...env, ...none },
    encoding: 'utf8',
  });
  assert.is(status, 1, stderr);
  assert.match(stderr, /ELI_SETUP=no: no system packages are installed/);
  assert.not.ok(existsSync(join(folder, 'called')), stderr);
});

test.run();
