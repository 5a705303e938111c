// The import order of DESIGN.md: a folder of src may import from itself and from folders of an earlier row, and a row's
// folders are strangers to one another unless they are listed in the order in which they may import.
// `npm run lint` runs this file; kernels-test/imports.test.ts runs its functions.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROWS = [
  ['errors'],
  ['config'],
  ['files', 'wgsl'],
  ['gpu'],
  ['tensor'],
  ['autograd'],
  ['ops'],
  ['nn'],
  ['optim'],
  ['data', 'report'],
  ['train'],
  ['ebm'],
  ['eli'],
  ['bench'],
  ['index'],
  ['experiments'],
  ['cli'],
];

/** The folder of `src` that a file is in; files of `src` itself count as a folder of their own name. */
const room = (path: string): string => posix.normalize(path).split('/')[0]!.replace(/\.ts$/, '');
const row = (name: string): number => ROWS.findIndex((names) => names.includes(name));

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*(['"])(\.{1,2}\/[^'"]+)\1/g;

/**
 * The imports of a set of files that go the wrong way, one line each.
 * @param files source text by path relative to `src`, with forward slashes
 */
export function wrongImports(files: ReadonlyMap<string, string>): string[] {
  const wrong: string[] = [];
  for (const [path, text] of files) {
    const from = room(path);
    if (row(from) < 0) wrong.push(`src/${path}: the folder is not in the import order`);
    for (const [, , target] of text.matchAll(IMPORT)) {
      const to = room(posix.join(posix.dirname(path), target!));
      const allowed = from === to || (row(to) >= 0 && row(to) < row(from));
      // The public entry shows the library; what stands on it (report) is not part of it.
      const entry = from === 'index' && to === 'report';
      if (!allowed || entry) wrong.push(`src/${path}: ${from} may not import from ${to} (${target})`);
    }
  }
  return wrong;
}

/** All TypeScript files of `src`. */
export function sources(): Map<string, string> {
  const src = join(dirname(fileURLToPath(import.meta.url)), '../../src');
  const names = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  return new Map(names.map((name) => [name.split(sep).join('/'), readFileSync(join(src, name), 'utf8')]));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const wrong = wrongImports(sources());
  for (const line of wrong) console.error(line);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
