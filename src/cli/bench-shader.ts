import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ShaderSettings, ShaderSpec } from '../bench/shader.ts';
import type { Fill } from '../bench/shader-data.ts';
import { absolute, numberOf } from './flags.ts';

const none = (): ShaderSettings => ({ size: {}, fill: {}, param: {}, override: {}, const: {} });

/**
 * Adds the flags of `eli bench --shader`. Their order matters: those before the first --shader apply to all shaders,
 * those after a --shader to that one. The list returned is complete once the command line has been parsed.
 */
export function addShaderFlags(command: Command): readonly ShaderSpec[] {
  const specs: ShaderSpec[] = [];
  const shared = none();
  const current = (): ShaderSettings => specs.at(-1)?.own ?? shared;
  const named = (
    kind: 'size' | 'fill' | 'param' | 'override' | 'const',
    value: (text: string) => unknown,
  ) => {
    return (text: string): void => {
      const [, name, rest] = /^([\w.]+)=(.+)$/.exec(text) ?? [];
      if (name === undefined) throw new InvalidArgumentError('It must be NAME=VALUE.');
      Object.assign(current()[kind], { [name]: value(rest!) });
    };
  };
  const one = (kind: keyof ShaderSettings, value: (text: string) => unknown) => {
    return (text: string): void => {
      Object.assign(current(), { [kind]: value(text) });
    };
  };
  command
    .option('--shader <file>', 'time this WGSL file; repeat to compare several', (text: string) => {
      specs.push({ file: fileOf(text), name: basename(text), own: none(), shared });
    })
    .option('--groups <x,y,z>', 'workgroups to launch', one('groups', groupsOf))
    .option(
      '--size <name=n>',
      'elements of a runtime-sized storage array (a vec4f is one)',
      named('size', countOf),
    )
    .option('--param <name=v>', 'value of a uniform: params.n=100, n=100, v=1,2,3', named('param', numbersOf))
    .option('--override <name=v>', 'value of an override', named('override', constantOf))
    .option('--const <name=v>', 'value of a `const NAME: type = value;`', named('const', constantOf))
    .option('--fill <name=v>', 'initial contents of a buffer: 0, or random in -1..1', named('fill', fillOf))
    .option('--seed <n>', 'seed of random inputs (default: 1)', one('seed', countOf))
    .option('--entry <name>', 'entry point, if there are several', one('entry', String))
    .option(
      '--bindings <wgsl>',
      'WGSL declarations of all bindings, where they cannot be read from the file',
      one('bindings', String),
    )
    .option(
      '--check <file>',
      'module whose default export computes the expected results',
      one('check', absolute),
    )
    .option(
      '--tolerance <t>',
      'allowed error: t · (1 + |expected|) (default: 1e-5)',
      one('tolerance', numberOf),
    )
    .option('--flops <n>', 'floating-point operations per launch', one('flops', numberOf))
    .option('--bytes <n>', 'bytes moved per launch', one('bytes', numberOf));
  return specs;
}

/** The user's file, or if there is none, one of the engine's. */
const fileOf = (text: string): string => {
  const own = resolve(text);
  return existsSync(own) || text.startsWith('.') || !text.includes('/') ? own : text;
};

function countOf(text: string): number {
  const value = numberOf(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

function groupsOf(text: string): ShaderSettings['groups'] {
  const counts = text.split(',').map(countOf);
  if (counts.length > 3) throw new InvalidArgumentError('It must be one to three numbers.');
  return counts as unknown as ShaderSettings['groups'];
}

const numbersOf = (text: string): number[] => text.split(',').map(numberOf);

const constantOf = (text: string): number => (text === 'true' ? 1 : text === 'false' ? 0 : numberOf(text));

function fillOf(text: string): Fill {
  const [low, high, ...more] = text.split('..').map(numberOf);
  if (more.length > 0) throw new InvalidArgumentError('It must be a number, or LOW..HIGH.');
  return { low: low!, high: high ?? low! };
}
