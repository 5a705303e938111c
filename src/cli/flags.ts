import { stat } from 'node:fs/promises';
import { InvalidArgumentError } from 'commander';
import { EliError } from '../errors.ts';

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

/** @throws EliError `FILE` when something is there already and may not be replaced (`--force`). */
export async function refuseExisting(path: string, force: boolean | undefined): Promise<void> {
  if (force === true) return;
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return;
  throw new EliError('FILE', `${path} is already there`, {
    hint: 'choose another name, or replace it with --force',
  });
}
