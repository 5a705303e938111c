import { statSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { EliError } from '../errors.ts';
import type { Contents } from './shader-data.ts';

/** Values by name. */
export type Named<T> = Readonly<Record<string, T>>;

/** What a check gets: the storage buffers before the launch and the uniforms, by name. */
export interface ShaderCase {
  readonly inputs: Named<Contents>;
  /** A struct as an object of its fields; one number as such, several as an array. */
  readonly uniforms: Named<number | readonly number[] | Named<number | readonly number[]>>;
  readonly overrides: Named<number>;
  readonly groups: readonly [number, number, number];
}

/** The expected contents of the buffers that the kernel writes, or of some of them, by name. */
export type ShaderCheck = (given: ShaderCase) => Named<ArrayLike<number>> | Promise<Named<ArrayLike<number>>>;

/** The default export of a check's module. @throws EliError `FILE` when it cannot be loaded or has none */
export async function checkOf(path: string): Promise<ShaderCheck> {
  // Node keeps modules by their address: one that was changed in the meantime needs another.
  const saved = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const loaded = (await import(`${pathToFileURL(path).href}?saved=${saved}`).catch((cause: Error) => {
    throw new EliError('FILE', `the check ${path} cannot be loaded: ${cause.message}`, { cause });
  })) as { default?: unknown };
  if (typeof loaded.default === 'function') return loaded.default as ShaderCheck;
  throw new EliError('FILE', `the check ${path} has no default export that is a function`, {
    hint: 'export default ({ inputs, uniforms }) => ({ y: … })',
  });
}
