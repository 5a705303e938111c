// What is installed beside this package: named in docs/dependencies.md with its licence, at exact versions, with no
// licence and no install script that nobody has looked at; and the sources fetch nothing.
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { sources } from './support/import-direction.ts';

const file = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));
const text = (path: string): string => readFileSync(file(path), 'utf8');

const manifest = JSON.parse(text('package.json')) as {
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly peerDependencies: Record<string, string>;
  readonly peerDependenciesMeta: Record<string, { readonly optional: boolean }>;
  readonly allowScripts: Record<string, boolean>;
};
interface Locked {
  readonly dev?: boolean;
  readonly license?: string;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly hasInstallScript?: boolean;
}
/** Every package of the tree by its folder, those of other platforms as well. */
const locked = Object.entries(
  (JSON.parse(text('package-lock.json')) as { packages: Record<string, Locked> }).packages,
).filter(([folder]) => folder !== '');

/** Licences that let anyone use, change and sell a program that this package is a part of. */
const ALLOWED = ['MIT', 'ISC', 'BSD-3-Clause', '0BSD', 'Unlicense', 'Apache-2.0', 'MIT OR Apache-2.0'];
/** Those of single packages that are used unchanged: what they ask for holds for their own files only. */
const ALSO: Readonly<Record<string, string>> = {
  '@resvg/resvg-js': 'MPL-2.0',
  '@saehrimnir/druidjs': 'LGPL-3.0-or-later',
  'dejavu-fonts-ttf': 'Bitstream Vera',
  // Parts of typedoc, which makes the API pages and is not installed beside the package.
  argparse: 'Python-2.0',
  entities: 'BSD-2-Clause',
  minimatch: 'BlueOak-1.0.0',
};

function licenceOf(folder: string, fallback?: string): string {
  const path = `${folder}/package.json`;
  // Packages for other platforms are not installed: the lock file has their licence.
  const own = existsSync(file(path)) ? (JSON.parse(text(path)) as Locked).license : fallback;
  if (!own?.startsWith('SEE LICENSE')) return own ?? 'none';
  return /Bitstream Vera Fonts Copyright/.test(text(`${folder}/LICENSE`)) ? 'Bitstream Vera' : own;
}

test('docs/dependencies.md names every dependency with its licence and what it is for', () => {
  const rows = [...text('docs/dependencies.md').matchAll(/^\| `(\S+)` +\| (\S[^|]*?) +\| (\S[^|]*?) +\|$/gm)];
  const named = rows.map(([, name, licence]) => [name!, licence!] as const);
  const wanted = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }).map(
    (name) => [name, licenceOf(`node_modules/${name}`)] as const,
  );
  assert.equal(Object.fromEntries(named), Object.fromEntries(wanted));
  assert.is(named.length, wanted.length, 'each once');
});

test('every package of the tree has a licence that was looked at', () => {
  const wrong = locked
    .map(([folder, { license }]) => [folder.replace(/^.*node_modules\//, ''), licenceOf(folder, license)])
    .filter(([name, licence]) => {
      // The parts of resvg for each platform are packages of their own.
      const also = ALSO[name!.replace(/^(@resvg\/resvg-js)-.*$/, '$1')];
      return !ALLOWED.includes(licence!) && licence !== also;
    });
  assert.equal(wrong, []);
  assert.ok(locked.length > 100, `${locked.length} packages`);
});

test('what an app gets with the engine has no licence with conditions on the app', () => {
  const wrong = locked
    .filter(([, { dev }]) => dev !== true)
    .filter(([folder, { license }]) => !ALLOWED.includes(licenceOf(folder, license)));
  assert.equal(wrong, []);
});

test('optional packages are in conflict with no version that an app has, and are installed in a clone', () => {
  for (const [name, range] of Object.entries(manifest.peerDependencies)) {
    assert.is(range, '*', name);
    assert.is(manifest.peerDependenciesMeta[name]?.optional, true, name);
    assert.ok(name in manifest.devDependencies, name);
  }
});

test('only optional packages and dependencies are imported', () => {
  const known = new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies }));
  const names = [...sources()].flatMap(([path, source]) =>
    [...source.matchAll(/(?:\bfrom|\bimport\(|^import) ?'((?:@[\w-]+\/)?[\w-]+)[/']/gm)].map(([, name]) => [
      path,
      name!,
    ]),
  );
  assert.ok(names.length > 10);
  assert.equal(
    names.filter(([, name]) => !known.has(name!)),
    [],
  );
});

test('versions are exact, packages come from the registry and are checked by their hash', () => {
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    assert.match(version, /^(npm:[@/a-z0-9]+@)?\d+\.\d+\.\d+$/, name);
  }
  for (const [folder, { dev, integrity, resolved }] of locked) {
    // The formatter's programs for other platforms have none in the lock file: they compute nothing here.
    if (dev !== true || !folder.startsWith('node_modules/@biomejs/cli-')) {
      assert.match(integrity ?? 'no hash', /^sha512-/, folder);
    }
    assert.ok(resolved?.startsWith('https://registry.npmjs.org/') ?? true, `${folder}: ${resolved}`);
  }
});

test('install scripts are those that package.json decides about', () => {
  const scripts = locked
    .filter(([, { hasInstallScript }]) => hasInstallScript === true)
    .map(([folder]) => folder.replace(/^.*node_modules\//, ''));
  assert.equal(scripts.sort(), Object.keys(manifest.allowScripts).sort());
});

test('the sources open no connection', () => {
  const files = sources();
  assert.ok(files.size > 100);
  const connected = [...files].filter(([, source]) =>
    /\bfetch\(|\bWebSocket\b|\b(from|import)\s*\(?\s*['"](node:)?(https?|http2|net|tls|dgram)['"]/.test(
      source,
    ),
  );
  assert.equal(
    connected.map(([path]) => path),
    [],
  );
});

test.run();
