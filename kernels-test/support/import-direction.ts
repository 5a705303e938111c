// The import order of DESIGN.md: a room of src (a folder, or a file beside the folders) may import from itself and from
// rooms of an earlier row; the rooms of one row are strangers to one another. No files import one another in a circle,
// types included. `npm run lint` runs this file; kernels-test/imports.test.ts runs its functions.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, sep } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const ROWS = [
  ['errors', 'maps'],
  ['abort', 'config', 'optional'],
  ['files', 'wgsl'],
  ['gpu'],
  ['tensor'],
  ['autograd'],
  ['ops/core'],
  ['ops'],
  ['nn'],
  ['optim'],
  ['data', 'report'],
  ['train'],
  ['ebm'],
  ['eli'],
  ['incremental'],
  ['detection'],
  ['bench'],
  ['api'],
  ['index'],
  ['experiments'],
  ['cli'],
];

const row = (room: string): number => ROWS.findIndex((rooms) => rooms.includes(room));

/** The room that a file of `src` is in: of a folder and a folder inside it that are both listed, the inner one. */
function roomOf(path: string): string {
  const parts = posix.normalize(path).replace(/\.ts$/, '').split('/');
  const inner = parts.slice(0, 2).join('/');
  return parts.length > 2 && row(inner) >= 0 ? inner : parts[0]!;
}

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*(['"])(\.{1,2}\/[^'"]+)\1/g;

/** Source text by path relative to `src`, with forward slashes. */
type Sources = ReadonlyMap<string, string>;

/** What a file imports or re-exports, types included: paths relative to `src`. */
export function importsOf(path: string, text: string): string[] {
  return [...text.matchAll(IMPORT)].map(([, , target]) => posix.join(posix.dirname(path), target!));
}

/** The imports of a set of files that go the wrong way, one line each. */
export function wrongImports(files: Sources): string[] {
  const wrong: string[] = [];
  for (const [path, text] of files) {
    const from = roomOf(path);
    if (row(from) < 0) wrong.push(`src/${path}: the folder is not in the import order`);
    for (const target of importsOf(path, text)) {
      const to = roomOf(target);
      const allowed = from === to || (row(to) >= 0 && row(to) < row(from));
      // The public entry shows the library; what stands on it (report) is not part of it.
      const entry = from === 'index' && to === 'report';
      if (!allowed || entry) wrong.push(`src/${path}: ${from} may not import from ${to} (${target})`);
    }
  }
  return wrong;
}

/** Circles of files that import one another, one line each: every import that leads back to where a walk came from. */
export function circles(files: Sources): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const walk = (path: string, from: readonly string[]): void => {
    const start = from.indexOf(path);
    if (start >= 0) found.push(`src: a circle of imports: ${[...from.slice(start), path].join(' → ')}`);
    if (start >= 0 || done.has(path)) return;
    for (const target of importsOf(path, files.get(path) ?? '')) walk(target, [...from, path]);
    done.add(path);
  };
  for (const path of files.keys()) walk(path, []);
  return found;
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
  const files = sources();
  const wrong = [...wrongImports(files), ...circles(files)];
  for (const line of wrong) console.error(line);
  process.exitCode = wrong.length === 0 ? 0 : 1;
}
