import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * The text of `shaders/<name>`, or undefined where there is no such file. The build replaces this module by one that
 * holds all texts, so that a bundler takes the shaders along.
 */
export function shaderText(name: string): string | undefined {
  const path = join(fileURLToPath(new URL('../../shaders', import.meta.url)), name);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
