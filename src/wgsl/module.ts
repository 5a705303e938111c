import { type OverrideInfo, type VariableInfo, WgslReflect } from 'wgsl_reflect/wgsl_reflect.module.js';
import { EliError } from '../errors.ts';
import { type Attribute, attributeAt, type Declaration, declarationsOf } from './declarations.ts';
import { originOf, type ShaderSource } from './source.ts';
import { type Token, textOf } from './tokens.ts';
import { namesUsedBy } from './uses.ts';

/** A compute entry point. */
export interface EntryPoint {
  readonly name: string;
  /** With the default values of overrides; `undefined` where an override has none. */
  readonly workgroup: readonly [number, number, number] | undefined;
  /** Resources that it uses, directly or in the functions it calls. */
  readonly resources: readonly VariableInfo[];
}

/** What a shader declares. */
export interface ShaderModule {
  readonly entries: readonly EntryPoint[];
  /** By binding. */
  readonly resources: readonly VariableInfo[];
  readonly overrides: readonly OverrideInfo[];
}

/**
 * Reads a shader. The reflection library sees only the declarations that bindings rest on, and those in the simplest
 * spelling: it cannot parse all of WGSL, and nothing else is needed of it.
 * @throws EliError `WGSL` with the place of what cannot be read.
 */
export function parseModule(source: ShaderSource): ShaderModule {
  const declarations = declarationsOf(source.code);
  const given = source.bindings === undefined ? declarations : declarationsOf(source.bindings);
  const origin: ShaderSource = source.bindings === undefined ? source : { ...GIVEN, code: source.bindings };
  const constants = [...declarations, ...(given === declarations ? [] : given)].filter(
    ({ keyword }) => keyword === 'const' || keyword === 'override',
  );
  const evaluate = evaluator(constants);
  const needed = declarationsNeeded(given);
  const parsed = reflect(origin, textOf(needed.flatMap((one) => simplified(origin, one, evaluate))));
  const { uniforms, storage, textures, samplers } = parsed;
  const resources = [...uniforms, ...storage, ...textures, ...samplers];
  resources.sort((a, b) => a.binding - b.binding);
  const functions = new Map(
    declarations.filter(({ keyword }) => keyword === 'fn').map((one) => [one.name, one]),
  );
  const entries = [...functions.values()].filter(({ attributes }) => has(attributes, 'compute'));
  return {
    entries: entries.map(({ name, attributes }) => {
      const used = namesUsedBy(name, functions);
      const isUsed = (one: VariableInfo): boolean => source.bindings !== undefined || used.has(one.name);
      return { name, workgroup: workgroupOf(attributes, evaluate), resources: resources.filter(isUsed) };
    }),
    resources,
    overrides: parsed.overrides,
  };
}

const HINT =
  "write it more simply, or give the bindings: eli bench --bindings '@group(0) @binding(0) var<storage> x: array<f32>; …'";

const GIVEN = { file: 'the bindings given', origin: [] };

const has = (attributes: readonly Attribute[], name: string): boolean =>
  attributes.some((attribute) => attribute.name === name);

/** Resources, overrides, and the types and constants that they name. */
function declarationsNeeded(all: readonly Declaration[]): Declaration[] {
  const named = new Map(
    all.filter(({ keyword }) => /^(struct|alias|const)$/.test(keyword)).map((one) => [one.name, one]),
  );
  const needed = new Set(
    all.filter(
      ({ keyword, attributes }) =>
        keyword === 'override' || (keyword === 'var' && has(attributes, 'binding')),
    ),
  );
  // A set is iterated together with what is added meanwhile.
  for (const { tokens } of needed) {
    for (const { kind, text } of tokens) {
      const other = kind === 'name' ? named.get(text) : undefined;
      if (other !== undefined) needed.add(other);
    }
  }
  return all.filter((one) => needed.has(one));
}

type Evaluate = (expression: readonly Token[]) => number | undefined;

/**
 * Evaluates constant expressions, with the default values of overrides: as the length of an array, which the reflection
 * library works out.
 */
function evaluator(constants: readonly Declaration[]): Evaluate {
  return (expression) => {
    const [only, more] = expression;
    if (more === undefined && only?.kind === 'number')
      return Number(textOf(expression).trim().replace(/[iu]$/, ''));
    const needed = declarationsNeeded([
      ...constants.map((one) => ({ ...one, keyword: 'const' })),
      { keyword: 'override', name: '', attributes: [], tokens: expression },
    ]);
    // The library takes an element of an array, and a name that it does not know, for some number.
    if (needed.some(({ tokens }) => tokens.some(({ text }) => text === '['))) return undefined;
    if (expression.some((_, at) => isUnknown(expression, at, constants))) return undefined;
    const text = needed.slice(0, -1).map(({ tokens }) => {
      const from = tokens.findIndex(({ text: word }) => word === 'const' || word === 'override');
      return `const ${textOf(tokens.slice(from + 1)).trim()}`;
    });
    const length = `array<u32, (${textOf(expression).trim()})>`;
    try {
      const { storage } = new WgslReflect(
        `${text.join('\n')}\n@group(0) @binding(0) var<storage> x: ${length};`,
      );
      const { count } = storage[0]!.type as { count?: number };
      return Number.isInteger(count) ? count : undefined;
    } catch {
      return undefined;
    }
  };
}

/** Whether the token is a name that is neither a constant, a member, a truth value nor called. */
function isUnknown(tokens: readonly Token[], at: number, constants: readonly Declaration[]): boolean {
  const { kind, text } = tokens[at]!;
  if (kind !== 'name' || text === 'true' || text === 'false') return false;
  if (tokens[at - 1]?.text === '.' || /^[(<]$/.test(tokens[at + 1]?.text ?? '')) return false;
  return !constants.some(({ name }) => name === text);
}

const NUMBER_ATTRIBUTES = new Set(['align', 'size', 'binding', 'group', 'id']);

/** A declaration in which the arguments of attributes and the lengths of arrays are numbers. */
function simplified(source: ShaderSource, { tokens }: Declaration, evaluate: Evaluate): Token[] {
  const numberOf = (expression: readonly Token[], what: string, least: number): Token => {
    const value = evaluate(expression);
    if (value !== undefined && value >= least)
      return { ...expression[0]!, kind: 'number', text: String(value) };
    throw unreadable(source, expression[0]?.line, `the ${what} ${textOf(expression).trim()}`);
  };
  const simple: Token[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at]!;
    const length = token.text === ',' ? lengthAt(tokens, at) : [];
    simple.push(token);
    if (token.text === '@' && NUMBER_ATTRIBUTES.has(tokens[at + 1]?.text ?? '')) {
      const attribute = attributeAt(tokens, at);
      const [name, open] = attribute.tokens.slice(1) as [Token, Token];
      const value = numberOf(attribute.args[0] ?? [], `value of @${attribute.name}`, 0);
      simple.push(name, open, value, attribute.tokens.at(-1)!);
      at += attribute.tokens.length - 1;
    } else if (length.length > 0) {
      simple.push(numberOf(length, 'length of an array', 1));
      at += length.length;
    }
  }
  return simple;
}

/** The expression behind the comma at `at` if it is the length of an array, otherwise none. */
function lengthAt(tokens: readonly Token[], at: number): readonly Token[] {
  // The list around the comma is the last that begins before and ends behind it.
  const begin = tokens.findLastIndex(
    ({ templateEnd }, i) => i < at && templateEnd !== undefined && tokens.indexOf(templateEnd) > at,
  );
  if (tokens[begin - 1]?.text !== 'array') return [];
  const length = tokens.slice(at + 1, tokens.indexOf(tokens[begin]!.templateEnd!));
  return length.at(-1)?.text === ',' ? length.slice(0, -1) : length;
}

function reflect(source: ShaderSource, text: string): WgslReflect {
  try {
    return new WgslReflect(text);
  } catch (cause) {
    const message = String((cause as Error).message ?? cause);
    const [said, line] = /^(.*?)\.* Line: (\d+)/.exec(message)?.slice(1) ?? [message];
    throw unreadable(source, line === undefined ? undefined : Number(line), said!, cause);
  }
}

function unreadable(source: ShaderSource, line: number | undefined, what: string, cause?: unknown): EliError {
  const place = line === undefined ? source.file : originOf(source, line);
  const message = `${place}: the reflection library (wgsl_reflect) cannot read this, which may be valid: ${what}`;
  return new EliError('WGSL', message, { hint: HINT, cause });
}

function workgroupOf(attributes: readonly Attribute[], evaluate: Evaluate): EntryPoint['workgroup'] {
  const sizes = attributes.find(({ name }) => name === 'workgroup_size')?.args.map(evaluate) ?? [];
  if (sizes.includes(undefined)) return undefined;
  const [x = 1, y = 1, z = 1] = sizes;
  return [x, y, z];
}
