import { readFileSync, statSync } from 'node:fs';
import { brief, EliError, isRecord } from '../errors.ts';
import { fileError } from './files.ts';
import { duplicateKey } from './json.ts';

/** Far more than all keys need. */
const MAX_CONFIG_BYTES = 1 << 20;

/** Config keys from a JSON file. @throws EliError `FILE` or `CONFIG` when it cannot be read or is not a JSON object. */
export function readConfig<T>(path: string | undefined): Partial<T> {
  if (path === undefined) return {};
  let text: string;
  try {
    if (statSync(path).size > MAX_CONFIG_BYTES)
      throw new Error(`it is larger than ${MAX_CONFIG_BYTES} bytes`);
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw fileError('read the config', path, cause);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new EliError('CONFIG', `the config ${path} is not valid JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (!isRecord(value)) throw new EliError('CONFIG', `the config ${path} is not a JSON object`);
  const twice = duplicateKey(text);
  if (twice !== undefined)
    throw new EliError('CONFIG', `the config ${path} has the key ${brief(twice)} twice`);
  return value as Partial<T>;
}
