import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

type Class = abstract new (...args: never[]) => object;

/** The classes that the modules of a folder of `src` export and that can be told by `is`, by their names. */
export async function exportedClasses(
  folder: string,
  is: (made: Class) => boolean,
): Promise<Map<string, Class>> {
  const path = join(fileURLToPath(new URL('../../src', import.meta.url)), folder);
  const files = readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const found = new Map<string, Class>();
  for (const file of files) {
    const exports: Record<string, unknown> = await import(pathToFileURL(join(path, file)).href);
    for (const value of Object.values(exports)) {
      if (typeof value === 'function' && value.prototype !== undefined && is(value as Class & typeof value))
        found.set(value.name, value as Class & typeof value);
    }
  }
  return found;
}
