/** A change of a launch that must not change the result of a kernel without data races. */
export interface Reordering {
  /** Reverses the order in which workgroups, or the invocations in one, are numbered. */
  readonly reverse?: 'workgroups' | 'invocations';
  /** Halves the first dimension of a workgroup; the launch then needs twice as many along it. */
  readonly halve?: boolean;
}

/** The parts of an entry point in a WGSL text. */
interface Entry {
  /** Up to the parenthesis of `@workgroup_size(`. */
  readonly before: string;
  /** One to three expressions. */
  readonly size: readonly string[];
  /** From there to the parenthesis that opens the parameters. */
  readonly after: string;
  readonly parameters: readonly string[];
  /** Everything after the brace that opens the body. */
  readonly body: string;
}

const BUILTINS = [
  'workgroup_id',
  'local_invocation_id',
  'local_invocation_index',
  'global_invocation_id',
  'num_workgroups',
] as const;
/** Which values of the reordered launch the names of a kernel's parameters stand for. */
const VALUES: Readonly<Record<(typeof BUILTINS)[number], string>> = {
  workgroup_id: 'eli_group',
  local_invocation_id: 'eli_local',
  local_invocation_index: 'eli_local.x + eli_size.x * (eli_local.y + eli_size.y * eli_local.z)',
  global_invocation_id: 'eli_group * eli_size + eli_local',
  num_workgroups: 'eli_groups',
};

/**
 * The text of a kernel with its workgroups or invocations in another order, for which the entry point gets other numbers;
 * undefined if that would change what it means, or its parameters are not plain builtins.
 */
export function reordered(code: string, entry: string, { reverse, halve }: Reordering): string | undefined {
  const text = code.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
  const found = entryOf(text, entry);
  const names = found && builtinsOf(found.parameters);
  if (found === undefined || names === undefined) return undefined;
  // Which invocations share a subgroup, or a workgroup's memory, belongs to the meaning of a kernel.
  if (reverse === 'invocations' && /\bsubgroup/.test(text)) return undefined;
  if (halve) {
    const independent = Object.keys(names).every((name) => name === 'global_invocation_id');
    if (!independent || /\bsubgroup|var\s*<\s*workgroup|\bworkgroupBarrier/.test(text)) return undefined;
  }
  const size = found.size.map((one, i) => (halve && i === 0 ? `(${one}) / 2` : one));
  const flip = (what: typeof reverse, count: string, at: string): string =>
    reverse === what ? `${count} - vec3u(1u) - ${at}` : at;
  const lines = [
    `let eli_size = vec3u(${[...size, '1', '1'].slice(0, 3).map((one) => `u32(${one})`)});`,
    `let eli_group = ${flip('workgroups', 'eli_groups', 'eli_group_given')};`,
    `let eli_local = ${flip('invocations', 'eli_size', 'eli_local_given')};`,
    ...Object.entries(names).map(([name, own]) => `let ${own} = ${VALUES[name as keyof typeof VALUES]};`),
  ];
  const given =
    '@builtin(workgroup_id) eli_group_given: vec3u, @builtin(local_invocation_id) eli_local_given: vec3u, @builtin(num_workgroups) eli_groups: vec3u';
  return `${found.before}${size.join(', ')}${found.after}${given}) {\n${lines.join('\n')}\n${found.body}`;
}

/** The index of the parenthesis that closes the one at `open`. */
function closing(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '(') depth++;
    if (text[i] === ')' && --depth === 0) return i;
  }
  return text.length;
}

/** Splits at the commas outside parentheses and angle brackets. */
function split(text: string): string[] {
  const parts = [''];
  let depth = 0;
  for (const letter of text) {
    if ('(<'.includes(letter)) depth++;
    if (')>'.includes(letter)) depth--;
    if (letter === ',' && depth === 0) parts.push('');
    else parts[parts.length - 1] += letter;
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '');
}

function entryOf(text: string, entry: string): Entry | undefined {
  const start = new RegExp(`\\bfn\\s+${entry}\\s*\\(`).exec(text);
  if (start === null) return undefined;
  const open = start.index + start[0].length - 1;
  const close = closing(text, open);
  const brace = text.indexOf('{', close);
  // Attributes stand before `fn`, after the end of whatever precedes them.
  const previous = Math.max(text.lastIndexOf(';', start.index), text.lastIndexOf('}', start.index)) + 1;
  const attribute = text.slice(previous, start.index).search(/@workgroup_size\s*\(/);
  if (brace < 0 || attribute < 0) return undefined;
  const from = text.indexOf('(', previous + attribute);
  const to = closing(text, from);
  return {
    before: text.slice(0, from + 1),
    size: split(text.slice(from + 1, to)),
    after: text.slice(to, open + 1),
    parameters: split(text.slice(open + 1, close)),
    body: text.slice(brace + 1),
  };
}

/** The names of parameters by builtin; undefined if one is something else, such as a struct or a subgroup's builtin. */
function builtinsOf(parameters: readonly string[]): Record<string, string> | undefined {
  const names: Record<string, string> = {};
  for (const parameter of parameters) {
    const [, builtin, name] = /^@builtin\s*\(\s*(\w+)\s*,?\s*\)\s*(\w+)\s*:/.exec(parameter) ?? [];
    if (!(BUILTINS as readonly (string | undefined)[]).includes(builtin)) return undefined;
    names[builtin!] = name!;
  }
  return names;
}
