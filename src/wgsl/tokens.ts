/** A word, number or sign of a WGSL text; signs are single characters. */
export interface Token {
  readonly kind: 'name' | 'number' | 'sign';
  readonly text: string;
  /** From 1. */
  readonly line: number;
  /** Its place in the text: `>` directly before `>` may be a shift. */
  readonly start: number;
  /** The `>` of a template list such as `array<f32>`. */
  endsTemplate: boolean;
  /** Of the `<` of such a list: its `>`. */
  templateEnd?: Token;
}

/** White space, comments (a block comment is found by `blockEnd`), names, numbers, and any other character. */
const LEXEME =
  /(\s+|\/\/[^\n\v\f\r\u0085\u2028\u2029]*)|(\/\*)|([\p{XID_Start}_]\p{XID_Continue}*)|(0[xX][\da-fA-F.]+(?:[pP][+-]?\d+)?[iufh]?|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[iufh]?)|[\s\S]/uy;

/** The tokens of a WGSL text, without comments. Never fails: what is not WGSL becomes signs. */
export function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let line = 1;
  for (let at = 0; at < text.length; ) {
    LEXEME.lastIndex = at;
    const [whole, blank, comment, name, number] = LEXEME.exec(text)!;
    const end = comment === undefined ? at + whole.length : blockEnd(text, at);
    if (blank === undefined && comment === undefined) {
      const kind = name !== undefined ? 'name' : number !== undefined ? 'number' : 'sign';
      tokens.push({ kind, text: whole, line, start: at, endsTemplate: false });
    }
    for (; at < end; at++) if (text[at] === '\n') line++;
  }
  markTemplates(tokens);
  return tokens;
}

/** Where the block comment at `at` ends; they nest. */
function blockEnd(text: string, at: number): number {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = at;
  let depth = 0;
  for (let match = edge.exec(text); match !== null; match = edge.exec(text)) {
    depth += match[0] === '/*' ? 1 : -1;
    if (depth === 0) return edge.lastIndex;
  }
  return text.length;
}

/** Marks the `>` that end template lists, by the algorithm of the WGSL specification (3.9, template list discovery). */
function markTemplates(tokens: readonly Token[]): void {
  /** Each `<` that may begin a list, and how deep in parentheses it is. */
  let open: { begin: Token; at: number }[] = [];
  let depth = 0;
  const isPair = (at: number, pair: string): boolean =>
    tokens[at]!.text === pair[0] &&
    tokens[at + 1]?.text === pair[1] &&
    tokens[at + 1]!.start === tokens[at]!.start + 1;
  for (let at = 0; at < tokens.length; at++) {
    const { kind, text } = tokens[at]!;
    if (kind === 'name' && tokens[at + 1]?.text === '<') {
      at++;
      if (!isPair(at, '<<') && !isPair(at, '<=')) open.push({ begin: tokens[at]!, at: depth });
      else at++;
    } else if (text === '>' && open.at(-1)?.at === depth) {
      tokens[at]!.endsTemplate = true;
      open.pop()!.begin.templateEnd = tokens[at]!;
    } else if (text === '(' || text === '[') depth++;
    else if (text === ')' || text === ']') {
      open = open.filter((outer) => outer.at < depth);
      depth = Math.max(0, depth - 1);
    } else if (isPair(at, '>=') || isPair(at, '!=') || isPair(at, '==')) at++;
    else if (isPair(at, '&&') || isPair(at, '||')) {
      open = open.filter((outer) => outer.at < depth);
      at++;
    } else if (text === '=' || text === ';' || text === '{' || text === ':') {
      open = [];
      depth = 0;
    }
  }
}

/**
 * The tokens as text that simple parsers can read: on their lines, without commas before the end of a list, and with the
 * ends of template lists apart.
 */
export function textOf(tokens: readonly Token[]): string {
  let text = '';
  let line = 1;
  let end = -1;
  for (const [i, token] of tokens.entries()) {
    const next = tokens[i + 1];
    if (token.text === ',' && (next?.endsTemplate || next?.text === ')')) continue;
    if (token.line > line) text += '\n'.repeat(token.line - line);
    else if (token.start !== end) text += ' ';
    text += decimal(token);
    line = Math.max(line, token.line);
    end = token.endsTemplate ? -1 : token.start + token.text.length;
  }
  return text;
}

/** Hexadecimal whole numbers in decimal. */
function decimal({ kind, text }: Token): string {
  const [, digits, suffix] = (kind === 'number' && /^0[xX]([\da-fA-F]+)([iu]?)$/.exec(text)) || [];
  return digits === undefined ? text : `${Number.parseInt(digits, 16)}${suffix}`;
}
