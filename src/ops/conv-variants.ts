import { storedAs } from '../tensor/tensor.ts';
import type { ParamValues } from '../wgsl/reflect.ts';
import {
  type Family,
  type Operand,
  type Problem,
  sizeBucket,
  type Tile,
  type Variant,
  variantsOf,
} from './core/variants.ts';

const MAX_COLUMN_TILES = 32768;

/** Positions per lane of the variant `run`: of 3, 4, 6 and 8 the fastest on llvmpipe. */
const RUN = 4;
/** Taps of a row up to which Mesa unrolls the variant `run`; with 7 it is four times slower than `subgroup`. */
const MAX_RUN_TAPS = 5;
/** Products below which the variant `run` is not worth its pipeline for each width and stride of window. */
const MIN_RUN_PRODUCTS = 1 << 20;

/** A row of taps in elements of X: constants of the variant `run`. */
interface TapRow {
  readonly KW: number;
  readonly STEP: number;
  readonly TAP: number;
  readonly FLIP: 0 | 1;
}

/** What the kernels sum, in the terms of lib/conv.wgsl: C [parts, …] = Σ A · X (+ bias). */
export interface ConvProblem extends Problem {
  readonly inputs: readonly [a: Operand, x: Operand, bias: Operand | undefined];
  readonly pass: 'forward' | 'input gradient' | 'weight gradient';
  /** Whether windows may reach outside the image. */
  readonly check: boolean;
  readonly m: number;
  readonly columns: number;
  readonly k: number;
  /** Parts of the sum over k, each of at most `part` values; default one. C has a result [groups, m, columns] per part. */
  readonly parts?: number;
  readonly part?: number;
  readonly groups: number;
  /** Absent where columns are not positions. */
  readonly tapRow?: TapRow;
  readonly params: ParamValues & { readonly grid_width: number; readonly row_c: number };
}

interface ConvTile extends Tile {
  /** The total that is cut into `columns`; default the columns of C. */
  readonly total?: number;
}

const variant = variantsOf(({ inputs: [a, x, bias], output, ...problem }: ConvProblem, tile: ConvTile) => {
  const { m, k, parts = 1, part = k, groups, columns, params } = problem;
  const { engine } = output.storage;
  const columnTiles = Math.ceil((tile.total ?? columns) / tile.columns);
  const rowTiles = Math.ceil(m / tile.rows);
  const across = Math.min(columnTiles, MAX_COLUMN_TILES);
  engine.run(tile.file, {
    storages: [a.storage, x.storage, (bias ?? a).storage, output.storage],
    consts: { ...tile.consts, ...storedAs({ Real: a.dtype, Result: output.dtype }) },
    overrides: {
      ...tile.overrides,
      WEIGHT: problem.pass === 'weight gradient' ? 1 : 0,
      CHECK: problem.check ? 1 : 0,
      BIAS: bias === undefined ? 0 : 1,
    },
    params: {
      m,
      columns,
      k,
      part,
      parts,
      row_tiles: rowTiles,
      offset_a: a.offset,
      offset_x: x.offset,
      offset_c: output.offset,
      offset_bias: bias?.offset ?? 0,
      lanes: engine.subgroupLanes ?? 0,
      group_c: m * params.row_c,
      part_c: groups * m * params.row_c,
      ...params,
    },
    groups: [across, rowTiles * Math.ceil(columnTiles / across), groups * parts],
  });
});

/** A lane computes a run of positions of a row: their windows overlap and are loaded once. Not for weight gradients. */
function runs(TM: number): Variant<ConvProblem> {
  return variant(`run ${TM}×${RUN}`, ({ columns, params: { grid_width }, tapRow }, LANES) => {
    if (LANES === undefined || tapRow === undefined) return undefined;
    if (tapRow.KW === 0 || tapRow.KW > MAX_RUN_TAPS) return undefined;
    const total = (columns / grid_width) * Math.ceil(grid_width / RUN);
    const consts = { TM, TN: RUN, LANES, ...tapRow };
    return { file: 'conv/conv_run.wgsl', rows: TM, columns: LANES, total, consts };
  });
}

/** One subgroup per tile; the rows of A are passed round by shuffles. */
function subgroup(TM: number, TN: number): Variant<ConvProblem> {
  return variant(`subgroup ${TM}×${TN}`, (_, LANES) => {
    if (LANES === undefined) return undefined;
    return { file: 'conv/conv_subgroup.wgsl', rows: TM, columns: LANES * TN, consts: { TM, TN, LANES } };
  });
}

/** Tiles in registers only. */
function direct(WX: number, TM: number, TN: number): Variant<ConvProblem> {
  const tile = { rows: TM, columns: WX * TN, consts: { TM, TN }, overrides: { WX } };
  return variant(`direct ${TM}×${WX * TN} of ${TM}×${TN}`, () => ({
    file: 'conv/conv_direct.wgsl',
    ...tile,
  }));
}

/** Tiles in workgroup memory. */
function tiled(WX: number, WY: number, TM: number, TN: number): Variant<ConvProblem> {
  const tile = { rows: WY * TM, columns: WX * TN, consts: { WX, WY, TM, TN } };
  const name = `tiled ${tile.rows}×${tile.columns} of ${TM}×${TN}`;
  return variant(name, () => ({ file: 'conv/conv_tiled.wgsl', ...tile }));
}

const HEIGHTS = [4, 8, 16] as const;
const RUNS = HEIGHTS.map(runs);
const SUBGROUPS = HEIGHTS.map((TM) => [1, 4, 6, 8].map((TN) => subgroup(TM, TN)));
const WIDTHS = { software: 8, gpu: 64 };
const DIRECTS = Object.values(WIDTHS).map((WX) =>
  [1, 4, 8].map((TM) => [1, 4].map((TN) => direct(WX, TM, TN))),
);
const TILED = {
  low: tiled(32, 4, 4, 4),
  middle: tiled(16, 8, 4, 4),
  high: tiled(16, 8, 8, 4),
  square: tiled(16, 16, 4, 4),
};

/** Whether the variant `run` is faster: its windows overlap, and image rows are not much shorter than a run. */
function runPays(problem: ConvProblem): boolean {
  const { m, columns, k, groups, params, tapRow } = problem;
  if (tapRow === undefined || groups * m * columns * k < MIN_RUN_PRODUCTS) return false;
  const { KW, STEP, TAP } = tapRow;
  const across = (RUN - 1) * STEP + (KW - 1) * TAP + 1;
  return across < RUN * KW && params.grid_width >= RUN - 1 && RUNS[0].supports(problem);
}

/** Columns per lane: eight at most, fewer where the last tile would be mostly empty. */
function tileWidth(columns: number, lanes: number): number {
  const padded = (width: number): number => Math.ceil(columns / (lanes * width)) * lanes * width;
  return [8, 6, 4].reduce((best, width) => (padded(width) < padded(best) ? width : best));
}

/** The variant without measurements. A group of one row has nothing to share between rows. */
function rule(problem: ConvProblem): Variant<ConvProblem> {
  const { m, columns } = problem;
  const { adapter, subgroupLanes: lanes } = problem.output.storage.engine;
  const { software } = adapter;
  if (m > 1 && !software) return m <= 16 ? TILED.low : m <= 32 ? TILED.middle : TILED.high;
  if (m === 1 || lanes === undefined) {
    const WX = software ? WIDTHS.software : WIDTHS.gpu;
    return DIRECTS[software ? 0 : 1][m === 1 ? 0 : m <= 4 ? 1 : 2][columns <= WX ? 0 : 1];
  }
  const height = m <= 4 ? 0 : m <= 8 ? 1 : 2;
  if (runPays(problem)) return RUNS[height];
  return SUBGROUPS[height][columns <= lanes ? 0 : [4, 6, 8].indexOf(tileWidth(columns, lanes)) + 1];
}

export const CONV: Family<ConvProblem> = {
  name: 'conv2d',
  variants: [...DIRECTS.flat(2), ...Object.values(TILED), ...SUBGROUPS.flat(), ...RUNS],
  rule,
  classOf: ({ inputs: [a], pass, m, columns, k, groups, params, tapRow }) => {
    const row = tapRow === undefined ? '' : ` row ${tapRow.KW}/${tapRow.STEP}/${tapRow.TAP}`;
    const sizes = [groups, m, columns, k].map(sizeBucket).join('×');
    return `${pass} ${a.dtype} ${sizes} width ${sizeBucket(params.grid_width)}${row}`;
  },
  flops: ({ groups, m, columns, k }) => 2 * groups * m * columns * k,
};
