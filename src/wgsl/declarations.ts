import { type Token, tokensOf } from './tokens.ts';

/** An attribute such as `@binding(0)`; its tokens include the `@` and the parentheses. */
export interface Attribute {
  readonly name: string;
  readonly tokens: readonly Token[];
  /** The tokens of each argument. */
  readonly args: readonly (readonly Token[])[];
}

/** A declaration at module scope. */
export interface Declaration {
  /** `fn`, `struct`, `var`, `const`, `override`, `alias`, or what else begins it, such as `enable`. */
  readonly keyword: string;
  readonly name: string;
  readonly attributes: readonly Attribute[];
  /** All of it. */
  readonly tokens: readonly Token[];
}

/** Splits a WGSL text into its declarations. Never fails: what is not WGSL is for the compiler to refuse. */
export function declarationsOf(code: string): Declaration[] {
  const tokens = tokensOf(code);
  const found: Declaration[] = [];
  for (let at = 0; at < tokens.length; ) {
    const start = at;
    const attributes: Attribute[] = [];
    while (tokens[at]?.text === '@') {
      const attribute = attributeAt(tokens, at);
      attributes.push(attribute);
      at += attribute.tokens.length;
    }
    const keyword = tokens[at]?.text ?? '';
    at = declarationEnd(tokens, at, keyword);
    const own = tokens.slice(start, at);
    found.push({ keyword, name: nameOf(own, keyword), attributes, tokens: own });
  }
  return found;
}

/** The attribute whose `@` is the token `at`. */
export function attributeAt(all: readonly Token[], at: number): Attribute {
  const end = all[at + 2]?.text === '(' ? closing(all, at + 2) + 1 : at + 2;
  const tokens = all.slice(at, end);
  const args: Token[][] = [[]];
  let depth = 0;
  for (const token of tokens.slice(3, -1)) {
    if (token.text === '(') depth++;
    else if (token.text === ')') depth--;
    if (token.text === ',' && depth === 0) args.push([]);
    else args.at(-1)!.push(token);
  }
  return { name: tokens[1]?.text ?? '', tokens, args: args.filter((arg) => arg.length > 0) };
}

/** Past the braces of a function or struct; past the semicolon of everything else. */
function declarationEnd(tokens: readonly Token[], from: number, keyword: string): number {
  const braces = keyword === 'fn' || keyword === 'struct';
  for (let at = from; at < tokens.length; at++) {
    const { text } = tokens[at]!;
    if (text === ';') return at + 1;
    if (braces && text === '{') return closing(tokens, at) + 1;
  }
  return tokens.length;
}

/** The declared name: the first after the keyword and its template list, as in `var<storage, read> x`. */
function nameOf(tokens: readonly Token[], keyword: string): string {
  let at = tokens.findIndex((token) => token.text === keyword) + 1;
  if (tokens[at]?.text === '<') while (at < tokens.length && !tokens[at++]!.endsTemplate);
  return tokens[at]?.text ?? '';
}

const CLOSES: Readonly<Record<string, string>> = { '(': ')', '{': '}' };

/** The token that closes the bracket at `from`, or the last. */
export function closing(tokens: readonly Token[], from: number): number {
  const open = tokens[from]!.text;
  for (let at = from, depth = 0; at < tokens.length; at++) {
    if (tokens[at]!.text === open) depth++;
    else if (tokens[at]!.text === CLOSES[open] && --depth === 0) return at;
  }
  return tokens.length - 1;
}
