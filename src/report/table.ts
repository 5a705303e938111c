import type Table from 'cli-table3';
import { EliError } from '../errors.ts';
import { notInstalled } from '../optional.ts';
import { formatMeanStd, type MeanStd, meanStd } from './stats.ts';

/** A column of a table: its head, and the cell of each row. */
export interface Column<Row> {
  head: string;
  /** The cell's text; `undefined` gives a dash. */
  cell: (row: Row) => string | undefined;
  /** Default right, for figures. */
  align?: 'left' | 'right';
}

/** What a table is written for. */
export type TableFormat = 'terminal' | 'markdown';

/** A table as text without a final newline, for a terminal or as Markdown. @throws EliError ARGUMENT: no columns; NOT_INSTALLED */
export async function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  format: TableFormat = 'terminal',
): Promise<string> {
  if (columns.length === 0) throw new EliError('ARGUMENT', 'A table needs at least one column');
  const cells = rows.map((row) => columns.map((column) => column.cell(row) ?? '–'));
  const aligns = columns.map((column) => column.align ?? 'right');
  const head = columns.map((column) => column.head);
  if (format === 'markdown') return markdown(head, aligns, cells);
  const { default: CliTable } = await import('cli-table3').catch(notInstalled('tables for the terminal'));
  const table: Table.Table = new CliTable({ head, colAligns: aligns, style: { head: [], border: [] } });
  table.push(...cells);
  return table.toString();
}

function markdown(head: string[], aligns: ('left' | 'right')[], cells: string[][]): string {
  const line = (texts: string[]): string =>
    `| ${texts.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = aligns.map((align) => (align === 'right' ? '--:' : ':--'));
  return [line(head), line(rule), ...cells.map(line)].join('\n');
}

/** A measured figure beside the published one and the reference's. */
export interface ResultRow {
  name: string;
  /** One value per seed. */
  ours: readonly number[];
  /** The paper's figure. */
  published?: number;
  /** The reference implementation's figures over its seeds. */
  reference?: Omit<MeanStd, 'n'>;
}

/** The columns "ours | published | reference" for `renderTable`. */
export function resultColumns(digits = 1): Column<ResultRow>[] {
  return [
    { head: '', align: 'left', cell: (row) => row.name },
    {
      head: 'ours',
      cell: (row) => (row.ours.length > 0 ? formatMeanStd(meanStd(row.ours), digits) : undefined),
    },
    { head: 'published', cell: (row) => row.published?.toFixed(digits) },
    {
      head: 'reference, mean ± std [range]',
      cell: (row) => row.reference && formatMeanStd(row.reference, digits, true),
    },
  ];
}
