import { existsSync } from 'node:fs';
import { brief, EliError, isRecord } from '../errors.ts';
import { readFileBytes } from '../files/files.ts';
import { duplicateKey } from '../files/json.ts';
import type { AdapterReport } from '../gpu/adapter.ts';
import { writeJson } from '../report/json.ts';

/** Name of the fastest variant by class of problem. */
export type Tuning = Map<string, string>;

const VERSION = 1;
/** Far more than all classes of all adapters of a lab take. */
const MAX_BYTES = 16 << 20;

/** Measurements hold for one adapter with one driver. */
function adapterKey({ name, driver }: AdapterReport): string {
  return `${name} | ${driver}`;
}

/** Every adapter's part of a file. */
type Parts = Map<string, Tuning>;

/**
 * What a file knows of an adapter; nothing when there is no file yet, unless that is an error.
 * @throws EliError `FILE` when it cannot be read, `FORMAT` when it is no file of `autotune`.
 */
export async function readTuning(
  path: string,
  adapter: AdapterReport,
  { missing = 'empty' }: { missing?: 'empty' | 'error' } = {},
): Promise<Tuning> {
  return (await readParts(path, missing)).get(adapterKey(adapter)) ?? new Map();
}

/** Puts an adapter's part into the file; the parts of other adapters stay. */
export async function saveTuning(path: string, adapter: AdapterReport, tuning: Tuning): Promise<void> {
  const parts = await readParts(path, 'empty');
  parts.set(adapterKey(adapter), tuning);
  await writeJson(path, {
    version: VERSION,
    adapters: Object.fromEntries([...parts].map(([name, part]) => [name, Object.fromEntries(part)])),
  });
}

async function readParts(path: string, missing: 'empty' | 'error'): Promise<Parts> {
  if (missing === 'empty' && !existsSync(path)) return new Map();
  return parseTuning(await readFileBytes(path), path);
}

/** @throws EliError `FORMAT` saying what is wrong with the file. */
export function parseTuning(bytes: Uint8Array, path: string): Parts {
  const wrong = (what: string, cause?: unknown): EliError =>
    new EliError('FORMAT', `${path} is no tuning file: ${what}`, {
      hint: 'delete it, and measure anew with `eli bench --variants --tuning <file>`',
      cause,
    });
  if (bytes.length > MAX_BYTES) throw wrong(`it has ${bytes.length} bytes, at most ${MAX_BYTES} are read`);
  let content: unknown;
  const text = new TextDecoder().decode(bytes);
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw wrong((cause as Error).message, cause);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw wrong(`it has ${JSON.stringify(twice)} twice`);
  if (!isRecord(content)) throw wrong('it is no object');
  if (content.version !== VERSION) throw wrong(`its version is ${brief(content.version)}, not ${VERSION}`);
  if (!isRecord(content.adapters)) throw wrong('it has no "adapters"');
  const parts: Parts = new Map();
  for (const [adapter, part] of Object.entries(content.adapters)) {
    if (!isRecord(part)) throw wrong(`its part for ${adapter} is no object`);
    const tuning: Tuning = new Map();
    for (const [key, name] of Object.entries(part)) {
      if (typeof name !== 'string') throw wrong(`the variant of ${key} is no name`);
      tuning.set(key, name);
    }
    parts.set(adapter, tuning);
  }
  return parts;
}
