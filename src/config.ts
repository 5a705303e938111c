import { brief, EliError, isRecord } from './errors.ts';

/** Values by key: what a computed default may depend on. */
export type Values = Readonly<Record<string, unknown>>;

/** The default of a key, or how to compute it and what the help text says about it. */
export type Settings<T> = (
  | { readonly default: T; readonly defaultText?: string }
  | { readonly default: (values: Values) => T; readonly defaultText: string }
) & {
  /** Whether a resumed run may change it, because it does not affect what is learnt. */
  readonly free?: boolean;
};

/** One key of a config; made by `whole`, `number`, `numbers`, `choice` and `flag`. */
export type Key<T> = Settings<T> & {
  /** What it means, in a few words. */
  readonly help: string;
  /** What a command line takes for it. */
  readonly kind: 'number' | 'numbers' | 'name' | 'flag';
  readonly accepts: (value: unknown) => value is T;
  /** What it accepts: as it follows "must be", and shorter for the help text. */
  readonly must: string;
  readonly range: string;
};

/** From the smallest value to the largest (`to`), or up to but not including `below`. */
type InRange = Settings<number> & { readonly from: number; readonly to?: number; readonly below?: number };

/** A whole number in a range. */
export const whole = (help: string, { to = Number.MAX_SAFE_INTEGER, ...settings }: InRange): Key<number> =>
  inRange('a whole number', Number.isInteger, help, { to, ...settings });

/** A number in a range. */
export const number = (help: string, settings: InRange): Key<number> =>
  inRange('a number', Number.isFinite, help, settings);

function inRange(
  what: string,
  isNumber: (value: unknown) => boolean,
  help: string,
  { from, to = Number.MAX_VALUE, below = Number.POSITIVE_INFINITY, ...settings }: InRange,
): Key<number> {
  const accepts = (value: unknown): value is number =>
    isNumber(value) && (value as number) >= from && (value as number) <= to && (value as number) < below;
  const high = to === Number.MAX_SAFE_INTEGER ? '2^53 - 1' : String(to);
  const range = `from ${from} to ${below <= to ? `below ${below}` : high}`;
  return { ...settings, help, kind: 'number', accepts, must: `${what} ${range}`, range };
}

/** A list of numbers. */
export function numbers(help: string, settings: Settings<readonly number[]>): Key<readonly number[]> {
  const accepts = (value: unknown): value is number[] => Array.isArray(value) && value.every(Number.isFinite);
  const range = 'separated by commas';
  return { ...settings, help, kind: 'numbers', accepts, must: 'a list of numbers', range };
}

/** One of some names. */
export function choice<const T extends string>(
  help: string,
  names: readonly T[],
  settings: Settings<NoInfer<T>>,
): Key<T> {
  const accepts = (value: unknown): value is T => (names as readonly unknown[]).includes(value);
  const range = names.join(', ');
  return { ...settings, help, kind: 'name', accepts, must: `one of ${range}`, range };
}

/** True or false. */
export function flag(help: string, settings: Settings<boolean>): Key<boolean> {
  const accepts = (value: unknown): value is boolean => typeof value === 'boolean';
  return { ...settings, help, kind: 'flag', accepts, must: 'true or false', range: '' };
}

/** A table of keys of any types. */
export type Keys = Readonly<Record<string, Key<unknown>>>;
type Accepts<T> = { readonly accepts: (value: unknown) => value is T };
type ValuesOf<K> = { readonly [P in keyof K]: K[P] extends Accepts<infer T> ? T : never };

/** The type of a complete config, from its table. */
export type ConfigOf<T> = T extends ConfigTable<infer K> ? ValuesOf<K> : never;

/**
 * The keys of a config: their types, defaults, checks, help texts, flags and what may differ on resume are all defined
 * here. Help text and JSON files list them in this order.
 */
export class ConfigTable<const K extends Keys> {
  readonly keys: K;
  readonly #name: string;
  readonly #check: ((config: ValuesOf<K>) => void) | undefined;

  /**
   * @param name what messages call a key, such as "config key"
   * @param check of a complete config: throws if its values do not fit together
   */
  constructor(name: string, keys: K, check?: (config: ValuesOf<K>) => void) {
    this.#name = name;
    this.keys = keys;
    this.#check = check;
  }

  /**
   * Completes a partial config: a key that is missing or undefined takes its default.
   * @throws EliError `CONFIG` for an unknown key or an invalid value, naming key, value and range;
   * and what the check throws.
   */
  complete(part: unknown): ValuesOf<K> {
    const name = this.#name;
    if (!isRecord(part)) throw new EliError('CONFIG', `the ${name}s are ${brief(part)}, must be an object`);
    for (const [key, value] of Object.entries(part)) {
      if (!Object.hasOwn(this.keys, key)) throw this.#unknown(key);
      const { accepts, must } = this.keys[key]!;
      if (value !== undefined && !accepts(value))
        throw new EliError('CONFIG', `${name} ${key} is ${brief(value)}, must be ${must}`);
    }
    const values = {};
    for (const [key, { default: fallback }] of Object.entries(this.keys)) {
      // A getter, so that a default may depend on keys that follow.
      const get = () => part[key] ?? (typeof fallback === 'function' ? fallback(values) : fallback);
      Object.defineProperty(values, key, { enumerable: true, get });
    }
    const config = { ...values } as ValuesOf<K>;
    this.#check?.(config);
    return config;
  }

  #unknown(key: string): EliError {
    const known = Object.keys(this.keys);
    const near = known.find((name) => areClose(name, key));
    return new EliError('CONFIG', `unknown ${this.#name} ${key}`, {
      hint: near === undefined ? `known: ${known.join(', ')}` : `did you mean ${near}?`,
    });
  }

  /** The changed keys that are not free, such as "batch was 64, is now 128": a resumed run may not change them. */
  differences(before: ValuesOf<K>, now: ValuesOf<K>): string[] {
    return Object.entries(this.keys)
      .filter(([key, { free }]) => free !== true && JSON.stringify(before[key]) !== JSON.stringify(now[key]))
      .map(([key]) => `${key} was ${brief(before[key])}, is now ${brief(now[key])}`);
  }

  /** The keys that an object has, such as the flags of a command line. */
  pick(from: Values): Partial<ValuesOf<K>> {
    const given = Object.keys(this.keys).filter((key) => from[key] !== undefined);
    return Object.fromEntries(given.map((key) => [key, from[key]])) as Partial<ValuesOf<K>>;
  }
}

/** Whether `name` may be a typo of `known`: another spelling, or one letter wrong, missing, added or swapped. */
function areClose(known: string, name: string): boolean {
  const slips = (text: string): string[] => {
    const letters = text.toLowerCase().replace(/[^a-z0-9]/g, '');
    return [letters, ...Array.from(letters, (_, i) => letters.slice(0, i) + letters.slice(i + 1))];
  };
  if (Math.abs(known.length - name.length) > 3) return false;
  return slips(known).some((text) => slips(name).includes(text));
}
