import { readFileSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { type Command, InvalidArgumentError } from 'commander';
import type { ConfigOf, ConfigTable, Keys, Values } from '../config.ts';
import { brief, EliError, isRecord } from '../errors.ts';
import { fileError } from '../files/files.ts';
import { duplicateKey } from '../files/json.ts';

/** A config's key as a flag, with dashes: stepSize is --step-size. */
export function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The value of a flag that is a number. */
export function numberOf(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

const PARSERS: Readonly<Record<string, (text: string) => unknown>> = {
  number: numberOf,
  numbers: (text) => text.split(',').map(numberOf),
  name: (text) => text,
};

/** A flag for each key of a config; the help text says its range and default. */
export function addConfigFlags(command: Command, { keys }: { readonly keys: Keys }): void {
  for (const [key, { help, kind, range, ...rest }] of Object.entries(keys)) {
    const flag = flagOf(key);
    const notes = [...(range === '' ? [] : [range]), `default: ${rest.defaultText ?? rest.default}`];
    const text = `${help} (${notes.join('; ')})`;
    if (kind === 'flag')
      command.option(`--${flag}`, text).option(`--no-${flag}`, `the opposite of --${flag}`);
    else command.option(`--${flag} <${kind}>`, text, PARSERS[kind]!);
  }
}

/** The part of a config that a command line gives: its flags, and of other keys what the file of `--config` says. */
export function givenConfig<K extends Keys>(
  table: ConfigTable<K>,
  flags: Values & { readonly config?: string },
): Partial<ConfigOf<ConfigTable<K>>> {
  return { ...readConfig(flags.config), ...table.pick(flags) };
}

/** @throws EliError `FILE` when something is there already and may not be replaced (`--force`). */
export async function refuseExisting(path: string, force: boolean | undefined): Promise<void> {
  if (force === true) return;
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  throw new EliError('FILE', `${path} is already there`, {
    hint: 'choose another name, or replace it with --force',
  });
}

/** Far more than all keys take. */
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
