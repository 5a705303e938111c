import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ConfigOf, ConfigTable, Keys, Values } from '../config.ts';
import { EliError } from '../errors.ts';
import { checkWritable } from '../files/atomic.ts';
import { readConfig } from '../files/config-file.ts';

/** The flag of a config key, without its leading dashes: `step-size` for stepSize. */
export function flagOf(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** The value of a flag that is a path: absolute, so that a resume from another folder finds it too. */
export function absolute(path: string): string {
  return resolve(path);
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

/** Adds a flag for each key of a config; the help text gives its range and default. */
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

/** The part of a config that a command line gives: its flags, and other keys from the file of `--config`. */
export function givenConfig<K extends Keys>(
  table: ConfigTable<K>,
  flags: Values & { readonly config?: string },
): Partial<ConfigOf<ConfigTable<K>>> {
  return { ...readConfig(flags.config), ...table.pick(flags) };
}

/** The option of every command that opens an engine, for `command.option`. */
export const ADAPTER = ['--adapter <name>', 'part of the name of the adapter to use'] as const;

/**
 * Checks an output file before work begins.
 * @param options `force`: it may be replaced; `makesFolder`: missing folders will be made
 * @throws EliError `FILE` if the file exists and may not be replaced (`--force`), or cannot be written
 */
export async function checkOutput(
  path: string,
  { force = false, makesFolder = false }: { force?: boolean | undefined; makesFolder?: boolean },
): Promise<void> {
  if (!force && existsSync(path)) {
    throw new EliError('FILE', `${path} is already there`, {
      hint: 'choose another name, or replace it with --force',
    });
  }
  await checkWritable(path, { makesFolder });
}
