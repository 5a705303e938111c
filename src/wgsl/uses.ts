import { closing, type Declaration } from './declarations.ts';
import type { Token } from './tokens.ts';

/**
 * The names at module scope that a function uses, directly or in the functions it calls. A parameter or a local variable
 * hides the name at module scope.
 */
export function namesUsedBy(entry: string, functions: ReadonlyMap<string, Declaration>): Set<string> {
  const used = new Set([entry]);
  // A set is iterated together with what is added meanwhile.
  for (const name of used) {
    const declaration = functions.get(name);
    if (declaration === undefined) continue;
    for (const other of freeNames(declaration.tokens)) used.add(other);
  }
  return used;
}

/** A block, or a `for` with its header, in which names are declared. */
interface Scope {
  readonly names: Set<string>;
  readonly isFor: boolean;
}

/** The names in a function's body that it does not declare itself. */
function freeNames(tokens: readonly Token[]): Set<string> {
  const open = tokens.findIndex(({ text }, at) => text === '(' && tokens[at - 2]?.text === 'fn');
  const free = new Set<string>();
  // Without a list of parameters it is for the compiler to refuse.
  if (open < 0) return free;
  const close = closing(tokens, open);
  const scopes: Scope[] = [{ names: parameters(tokens.slice(open + 1, close)), isFor: false }];
  /** Known from the end of its declaration on: in `let x = x;` the second is another. */
  let declared: string | undefined;
  for (let at = close + 1; at < tokens.length; at++) {
    const { kind, text } = tokens[at]!;
    const before = tokens[at - 1]!.text;
    if (text === '{') scopes.push({ names: new Set(), isFor: false });
    else if (text === '}') {
      scopes.pop();
      if (scopes.at(-1)?.isFor) scopes.pop();
    } else if (text === ';' && declared !== undefined) {
      scopes.at(-1)?.names.add(declared);
      declared = undefined;
    } else if (kind !== 'name' || before === '.' || before === '@') continue;
    else if (text === 'for') scopes.push({ names: new Set(), isFor: true });
    else if (text === 'let' || text === 'const' || text === 'var') {
      if (tokens[at + 1]?.text === '<') while (!tokens[++at]?.endsTemplate && at < tokens.length);
      declared = tokens[++at]?.text;
    } else if (!scopes.some(({ names }) => names.has(text))) free.add(text);
  }
  return free;
}

/** In `@builtin(position) p: vec4f, q: array<f32, N>`, the names before colons. */
function parameters(tokens: readonly Token[]): Set<string> {
  return new Set(tokens.filter((_, at) => tokens[at + 1]?.text === ':').map(({ text }) => text));
}
