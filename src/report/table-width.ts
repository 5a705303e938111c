/** Widths of a terminal that does not say how wide it is, and of a file. */
const USUAL = 80;
/** Texts are shortened to no less than this while columns can still be left out. */
const LEGIBLE = 16;
/** The least that is left of a text. */
const LEAST = 4;

/** The columns of the terminal: the variable COLUMNS, or what the terminal says, or 80 where there is none. */
export function terminalWidth(): number {
  const asked = Number(process.env.COLUMNS);
  return Number.isInteger(asked) && asked > 0 ? asked : process.stdout.columns || USUAL;
}

/** What counts of a column: see `Column`. */
interface Part {
  readonly head: string;
  readonly align?: 'left' | 'right';
  readonly rank?: number;
}

/** What of a table fits a width. */
export interface Fitted<C> {
  readonly columns: readonly C[];
  /** The cells of these columns, some shortened. */
  readonly cells: readonly (readonly string[])[];
  /** Heads of the columns left out. */
  readonly hidden: readonly string[];
}

/** Width of a boxed table whose cells have these widths: a space on both sides of each, and lines between them. */
const boxed = (widths: readonly number[]): number => widths.reduce((sum, width) => sum + width + 3, 1);

/**
 * Leaves out columns until the table fits `width`: first those with a `rank`, the highest first. Then texts are shortened,
 * and where this is not enough, columns go from the right, except for the first and its neighbour.
 */
export function fitTable<C extends Part>(
  columns: readonly C[],
  cells: readonly (readonly string[])[],
  width: number,
): Fitted<C> {
  const widths = columns.map(({ head }, j) => Math.max(head.length, ...cells.map((row) => row[j]!.length)));
  let shown = columns.map((_, j) => j);
  const excess = (): number => boxed(shown.map((j) => widths[j]!)) - width;
  const ranked = shown.filter((j) => columns[j]!.rank !== undefined);
  ranked.sort((a, b) => columns[b]!.rank! - columns[a]!.rank! || b - a);
  for (const j of ranked) if (excess() > 0) shown = shown.filter((other) => other !== j);
  const shorten = (least: number): void => {
    const texts = shown.filter((j) => columns[j]!.align === 'left');
    for (const j of texts.sort((a, b) => widths[b]! - widths[a]!)) {
      const most = Math.max(widths[j]! - excess(), Math.min(least, widths[j]!));
      if (excess() > 0) widths[j] = most;
    }
  };
  shorten(LEGIBLE);
  while (excess() > 0 && shown.length > 2) shown.pop();
  shorten(LEAST);
  return {
    columns: shown.map((j) => ({ ...columns[j]!, head: shortened(columns[j]!.head, widths[j]!) })),
    cells: cells.map((row) => shown.map((j) => shortened(row[j]!, widths[j]!))),
    hidden: columns.filter((_, j) => !shown.includes(j)).map(({ head }) => head),
  };
}

/** The text, or its start and end about an ellipsis: names of rows differ at both. */
function shortened(text: string, width: number): string {
  if (text.length <= width) return text;
  const start = Math.ceil((width - 1) / 2);
  return `${text.slice(0, start)}…${text.slice(text.length - (width - 1 - start))}`;
}

/** A text in lines of at most `width`, broken at spaces. */
export function wrapped(text: string, width: number): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line === undefined || line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.join('\n');
}
