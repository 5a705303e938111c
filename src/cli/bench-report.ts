import type { BenchRow, FailedRow } from '../bench/measure.ts';
import type { Roofline } from '../bench/roofline.ts';
import { brief, EliError, isRecord } from '../errors.ts';
import { readFileBytes } from '../files/files.ts';
import { savePicture } from '../report/picture.ts';
import { rooflineSpec } from '../report/roofline.ts';
import { type Column, renderTable, type TableFormat } from '../report/table.ts';

/** The figures of one round of rows. */
export interface Measured {
  readonly adapter: string;
  readonly driver: string;
  readonly roofline: Roofline;
  readonly rows: readonly BenchRow[];
  readonly failed: readonly FailedRow[];
}

/** What an earlier `--json` file says. */
export interface Before {
  readonly path: string;
  readonly adapter: unknown;
  readonly rows: ReadonlyMap<string, BenchRow>;
}

/** A row that was timed or one that was not. */
type Row = Partial<BenchRow> & Pick<BenchRow, 'name'> & { readonly error?: EliError };

/** What stands in the place of a time. */
const failure = ({ code }: EliError): string =>
  code === 'WGSL' ? 'does not compile' : code === 'VALIDATION' ? 'wrong' : 'failed';

/** A table of the rows for a terminal or as Markdown, or every figure of them as CSV. */
export function benchTable(
  { roofline, rows, failed }: Measured,
  before: Before | undefined,
  format: TableFormat,
): Promise<string> {
  const all: Row[] = [...rows, ...failed];
  return renderTable(format === 'csv' ? figures(before) : columns(roofline, rows, before), all, format);
}

/** Every figure, as it was measured, under the names of the `--json` file. */
function figures(before: Before | undefined): Column<Row>[] {
  const keys = [
    ...(['unit', 'median', 'low', 'high', 'samples', 'first', 'ratio'] as const),
    ...(['gpu', 'dispatches', 'kernel', 'gflops', 'gbs', 'race'] as const),
  ];
  return [
    { head: 'name', cell: ({ name }) => name },
    ...keys.map((key): Column<Row> => ({ head: key, cell: (row) => row[key]?.toString() })),
    ...(before === undefined
      ? []
      : [{ head: 'before', cell: ({ name }: Row) => before.rows.get(name)?.median.toString() }]),
    { head: 'failed', cell: ({ error }) => error && failure(error) },
  ];
}

function columns(roof: Roofline, rows: readonly BenchRow[], before: Before | undefined): Column<Row>[] {
  const fixed = (value: number | undefined): string | undefined => value?.toPrecision(3);
  const share = ({ gflops = 0, gbs = 0 }: Row): string | undefined => {
    const nearer = Math.max(gflops / roof.gflops, gbs / roof.gbs);
    return nearer > 0 ? `${(100 * nearer).toFixed(0)} %` : undefined;
  };
  const timed = (cell: (row: BenchRow) => string | undefined) => (row: Row) =>
    row.error === undefined ? cell(row as BenchRow) : undefined;
  const all: (Column<Row> | false)[] = [
    { head: 'row', align: 'left', cell: (row) => row.name },
    { head: 'ms', cell: ({ median, error }) => (error ? failure(error) : fixed(median)) },
    { head: 'quartiles', rank: 5, cell: timed(({ low, high }) => `${fixed(low)}–${fixed(high)}`) },
    rows.some(({ ratio }) => ratio !== undefined) && {
      head: 'of first',
      rank: 1,
      cell: ({ ratio }) => (ratio === undefined ? undefined : `× ${ratio.toFixed(2)}`),
    },
    { head: 'GPU ms', rank: 4, cell: (row) => fixed(row.gpu) },
    { head: 'dispatches', rank: 8, cell: (row) => row.dispatches?.toString() },
    { head: 'GFLOP/s', rank: 3, cell: (row) => fixed(row.gflops) },
    { head: 'GB/s', rank: 3, cell: (row) => fixed(row.gbs) },
    { head: 'share', rank: 2, cell: share },
    {
      head: 'a second',
      rank: 6,
      cell: timed(({ median, unit }) => `${(1000 / median).toPrecision(3)} ${unit}`),
    },
    { head: 'first ms', rank: 7, cell: (row) => row.first?.toFixed(0) },
    {
      head: 'longest kernel',
      rank: 9,
      align: 'left',
      cell: (row) => row.kernel?.replace(/^.*\/|\.wgsl/g, ''),
    },
    before !== undefined && {
      head: 'before',
      cell: timed((row) => changeOf(before.rows.get(row.name), row)),
    },
  ];
  return all.filter((column) => column !== false);
}

/** How a row compares with an earlier one; the change is noise where the ranges between the quartiles overlap. */
export function changeOf(before: BenchRow | undefined, now: BenchRow): string | undefined {
  if (before === undefined) return undefined;
  const ratio = `× ${(now.median / before.median).toFixed(2)}`;
  if (now.low > before.high) return `${ratio} slower`;
  if (now.high < before.low) return `${ratio} faster`;
  return `${ratio} (noise)`;
}

/** Reads an earlier `--json` file. @throws EliError `FILE` when it cannot be read or has no such rows. */
export async function readBench(path: string): Promise<Before> {
  const text = new TextDecoder().decode(await readFileBytes(path));
  try {
    const file: unknown = JSON.parse(text);
    const { rows, adapter } = isRecord(file) ? file : {};
    if (!Array.isArray(rows)) throw new Error(`its rows are ${brief(rows)}`);
    for (const [i, row] of rows.entries()) {
      const { name, low, median, high } = (isRecord(row) ? row : {}) as Record<string, unknown>;
      if (typeof name !== 'string' || ![low, median, high].every(Number.isFinite))
        throw new Error(`row ${i} is ${brief(row)}`);
    }
    return { path, adapter, rows: new Map((rows as BenchRow[]).map((row) => [row.name, row])) };
  } catch (cause) {
    throw new EliError('FILE', `${path} is not a --json file of eli bench: ${(cause as Error).message}`, {
      hint: 'write one with --json',
      cause,
    });
  }
}

/**
 * @throws EliError `VALIDATION` naming each row that takes more than `limit` times as long as before, or when no row can be
 * compared
 */
export function refuseSlower(rows: readonly BenchRow[], { path, rows: before }: Before, limit: number): void {
  const ratios = rows.flatMap((row) => {
    const then = before.get(row.name);
    return then === undefined ? [] : [{ name: row.name, ratio: row.median / then.median }];
  });
  if (ratios.length === 0) {
    throw new EliError('VALIDATION', `${path} has none of these rows, so nothing could be compared`, {
      hint: 'write it anew with --json, with the same filter',
    });
  }
  const slow = ratios.filter(({ ratio }) => ratio > limit);
  if (slow.length === 0) return;
  const list = slow.map(({ name, ratio }) => `${name}: × ${ratio.toFixed(2)}`).join('\n');
  throw new EliError(
    'VALIDATION',
    `${slow.length} of ${ratios.length} rows take more than ${limit} times as long as in ${path}:\n${list}`,
  );
}

/** @throws EliError with the messages of the rows that failed, if any did */
export function refuseFailed({ failed, rows }: Pick<Measured, 'failed' | 'rows'>): void {
  const [first] = failed;
  if (first === undefined) return;
  const messages = failed.map(({ error }) => error.message).join('\n');
  const total = rows.length + failed.length;
  throw new EliError(first.error.code, `${messages}\n${failed.length} of ${total} rows failed`, {
    cause: first.error,
  });
}

/** Draws the roofline with the rows whose operations and bytes are known. */
export async function drawRoofline(base: string, { rows, roofline, adapter }: Measured): Promise<void> {
  const points = rows.flatMap(({ name, gflops, gbs }) =>
    gflops && gbs ? [{ name: name.replace(/^(op|shader): /, ''), gflops, gbs }] : [],
  );
  if (points.length > 0) await savePicture(base, rooflineSpec(points, roofline, adapter));
}
