import type Table from 'cli-table3';
import { EliError } from '../errors.ts';
import { notInstalled } from '../optional.ts';
import { csvLine } from './csv.ts';
import { formatMeanStd, type MeanStd, meanStd } from './stats.ts';
import { fitTable, terminalWidth, wrapped } from './table-width.ts';

/** A column of a table: its head, and the cell of each row. */
export interface Column<Row> {
  head: string;
  /** The cell's text; `undefined` gives a dash. */
  cell: (row: Row) => string | undefined;
  /** Default right, for figures. */
  align?: 'left' | 'right';
  /** Where a terminal is too narrow, the columns with the highest rank are left out first; those without one stay. */
  rank?: number;
}

/** What a table is written for. */
export type TableFormat = 'terminal' | 'markdown' | 'csv';

/**
 * A table as text without a final newline: for a terminal, with as many columns as fit `width`; or as Markdown or
 * CSV (RFC 4180, but lines end in \n, and a missing figure is empty), with all.
 * @throws EliError ARGUMENT: no columns; `NOT_INSTALLED` without cli-table3
 */
export async function renderTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  format: TableFormat = 'terminal',
  width = terminalWidth(),
): Promise<string> {
  if (columns.length === 0) throw new EliError('ARGUMENT', 'A table needs at least one column');
  if (format === 'csv') return csv(columns, rows);
  const cells = rows.map((row) => columns.map((column) => column.cell(row) ?? '–'));
  if (format === 'markdown') return markdown(columns, cells);
  const fitted = fitTable(columns, cells, width);
  const { default: CliTable } = await import('cli-table3').catch(notInstalled('tables for the terminal'));
  const table: Table.Table = new CliTable({
    head: fitted.columns.map(({ head }) => head),
    colAligns: fitted.columns.map(({ align = 'right' }) => align),
    style: { head: [], border: [] },
  });
  table.push(...fitted.cells.map((row) => [...row]));
  if (fitted.hidden.length === 0) return table.toString();
  const left = `not shown in ${width} columns: ${fitted.hidden.join(', ')} (COLUMNS=200 in front of the command shows them)`;
  return `${table.toString()}\n${wrapped(left, width)}`;
}

function csv<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = [
    columns.map(({ head }) => head),
    ...rows.map((row) => columns.map(({ cell }) => cell(row) ?? '')),
  ];
  return lines.map(csvLine).join('\n');
}

function markdown<Row>(columns: readonly Column<Row>[], cells: string[][]): string {
  const line = (texts: string[]): string =>
    `| ${texts.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = columns.map(({ align }) => (align === 'left' ? ':--' : '--:'));
  return [line(columns.map(({ head }) => head)), line(rule), ...cells.map(line)].join('\n');
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
    { head: 'published', rank: 2, cell: (row) => row.published?.toFixed(digits) },
    {
      head: 'reference, mean ± std [range]',
      rank: 1,
      cell: (row) => row.reference && formatMeanStd(row.reference, digits, true),
    },
  ];
}
