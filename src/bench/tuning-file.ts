import { existsSync } from 'node:fs';
import { brief, EliError, isRecord } from '../errors.ts';
import { readFileBytes } from '../files/files.ts';
import { duplicateKey } from '../files/json.ts';
import type { AdapterReport } from '../gpu/adapter.ts';
import { writeJson } from '../report/json.ts';

/** Name of the fastest variant by class of problem. */
export type Tuning = Readonly<Record<string, string>>;

const VERSION = 1;
/** Far more than all classes of many adapters take. */
const MAX_BYTES = 16 << 20;

/** Measurements hold for one adapter with one driver. */
function adapterKey({ name, driver }: AdapterReport): string {
  return `${name} | ${driver}`;
}

/**
 * The tuning of an adapter, empty where the file has none.
 * @throws EliError `FILE` when the file cannot be read, `FORMAT` when it is not a tuning file
 */
export async function readTuning(path: string, adapter: AdapterReport): Promise<Tuning> {
  return parseTuning(await readFileBytes(path), path)[adapterKey(adapter)] ?? {};
}

/** Adds to an adapter's tuning in a file, which need not exist; other adapters' stay as they are. */
export async function addToTuning(path: string, adapter: AdapterReport, tuning: Tuning): Promise<void> {
  const adapters = existsSync(path) ? parseTuning(await readFileBytes(path), path) : {};
  const key = adapterKey(adapter);
  adapters[key] = { ...adapters[key], ...tuning };
  await writeJson(path, { version: VERSION, adapters });
}

/** Every adapter's tuning. @throws EliError `FORMAT` saying what is wrong with the file */
export function parseTuning(bytes: Uint8Array, path: string): Record<string, Tuning> {
  const wrong = (what: string, cause?: unknown): EliError =>
    new EliError('FORMAT', `${path} is not a tuning file: ${what}`, {
      hint: 'delete it and measure again with `eli bench --variants --tuning <file>`',
      cause,
    });
  if (bytes.length > MAX_BYTES) throw wrong(`it has ${bytes.length} bytes, more than ${MAX_BYTES}`);
  let content: unknown;
  const text = new TextDecoder().decode(bytes);
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw wrong((cause as Error).message, cause);
  }
  const twice = duplicateKey(text);
  if (twice !== undefined) throw wrong(`it has ${JSON.stringify(twice)} twice`);
  if (!isRecord(content)) throw wrong('it is not a JSON object');
  if (content.version !== VERSION) throw wrong(`its version is ${brief(content.version)}, not ${VERSION}`);
  if (!isRecord(content.adapters)) throw wrong('it has no "adapters"');
  for (const [adapter, part] of Object.entries(content.adapters)) {
    if (!isRecord(part)) throw wrong(`its part for ${adapter} is not an object`);
    const other = Object.keys(part).find((key) => typeof part[key] !== 'string');
    if (other !== undefined) throw wrong(`the variant of ${other} is not a name`);
  }
  return content.adapters as Record<string, Tuning>;
}
