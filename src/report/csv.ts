import type { RunEvent } from './run-log.ts';

/**
 * The events of a log that belong to an epoch or an iteration as CSV (RFC 4180, lines end in a newline): a row each, and a
 * column for each figure that any of them has.
 */
export function eventsCsv(events: readonly RunEvent[]): string {
  const rows = events.filter(({ epoch, iteration }) => epoch !== undefined || iteration !== undefined);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column] ?? ''))];
  return lines.map((cells) => `${csvLine(cells)}\n`).join('');
}

/** A line of CSV (RFC 4180) without its end. */
export function csvLine(cells: readonly unknown[]): string {
  return cells.map(cellOf).join(',');
}

function cellOf(value: unknown): string {
  const text = String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
