import { empty } from '../tensor/create.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import { storedAs, type Tensor } from '../tensor/tensor.ts';
import type { Window } from './conv-window.ts';
import {
  type Family,
  launchBest,
  type Operand,
  operandOf,
  type Problem,
  sizeBucket,
  type Variant,
} from './core/variants.ts';
import { sum } from './reduce.ts';

/** A window with its channel groups. */
export interface ConvAttrs extends Omit<Window, 'kernel'> {
  readonly groups: number;
}

/** Values of k that one part of a weight gradient sums: short sums are accurate, and many run side by side. */
const PART = 1024;
/** Elements that the partial sums of a weight gradient may take together. */
const PARTIAL_LIMIT = 1 << 24;
const MAX_COLUMN_TILES = 32768;

/** Positions of a lane in the variant `run`: of 3, 4, 6 and 8 the fastest on llvmpipe. */
const RUN = 4;
/** Taps of a row up to which Mesa unrolls the variant `run`; with 7 it is four times slower than `subgroup`. */
const MAX_RUN_TAPS = 5;
/** Products below which the variant `run` is no faster; it needs a pipeline for each width and stride of window. */
const MIN_RUN_PRODUCTS = 1 << 20;

/** A row of taps in elements of X: constants of the variant `run`. */
interface TapRow {
  readonly KW: number;
  readonly STEP: number;
  readonly TAP: number;
  readonly FLIP: 0 | 1;
}

/** What the kernels sum, in the terms of lib/conv.wgsl: C [parts, …] = Σ A · X (+ bias). */
interface ConvProblem extends Problem {
  readonly inputs: readonly [a: Operand, x: Operand, bias: Operand | undefined];
  readonly pass: 'forward' | 'input gradient' | 'weight gradient';
  /** Whether windows may reach outside the image. */
  readonly check: boolean;
  readonly m: number;
  readonly columns: number;
  readonly k: number;
  readonly parts: number;
  readonly part: number;
  readonly groups: number;
  /** Positions in a row of the grid. */
  readonly gridWidth: number;
  /** Absent where columns are no positions. */
  readonly tapRow?: TapRow;
  readonly params: Readonly<Record<string, number>>;
}

type ConvVariant = Variant<ConvProblem>;

/** How a kernel cuts C: rows of a tile, tiles along the columns, and what sets its tile. */
interface Tile {
  readonly rows: number;
  readonly columnTiles: number;
  readonly consts?: Readonly<Record<string, number>>;
  readonly overrides?: Readonly<Record<string, number>>;
}

function run(file: string, problem: ConvProblem, tile: Tile): void {
  const { m, k, parts, part, groups, columns, output } = problem;
  const [a, x, bias] = problem.inputs;
  const { engine } = output.storage;
  const { columnTiles } = tile;
  const rowTiles = Math.ceil(m / tile.rows);
  const across = Math.min(columnTiles, MAX_COLUMN_TILES);
  engine.run(file, {
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
      grid_width: problem.gridWidth,
      ...problem.params,
    },
    groups: [across, rowTiles * Math.ceil(columnTiles / across), groups * parts],
  });
}

const lanesOf = ({ output }: ConvProblem): number | undefined => output.storage.engine.subgroupLanes;

/** A lane takes a run of positions of a row: their windows overlap, and are loaded once. No weight gradient. */
function runs(TM: number): ConvVariant {
  return {
    name: `run ${TM}×${RUN}`,
    supports: (problem) =>
      lanesOf(problem) !== undefined &&
      problem.tapRow !== undefined &&
      problem.tapRow.KW > 0 &&
      problem.tapRow.KW <= MAX_RUN_TAPS,
    launch: (problem) => {
      const { columns, gridWidth, tapRow } = problem;
      const LANES = lanesOf(problem)!;
      const count = (columns / gridWidth) * Math.ceil(gridWidth / RUN);
      run('conv/conv_run.wgsl', problem, {
        consts: { TM, TN: RUN, LANES, ...tapRow! },
        rows: TM,
        columnTiles: Math.ceil(count / LANES),
      });
    },
  };
}

/** One subgroup a tile; the rows of A go round by shuffles. */
function subgroup(TM: number, TN: number): ConvVariant {
  return {
    name: `subgroup ${TM}×${TN}`,
    supports: (problem) => lanesOf(problem) !== undefined,
    launch: (problem) => {
      const LANES = lanesOf(problem)!;
      run('conv/conv_subgroup.wgsl', problem, {
        consts: { TM, TN, LANES },
        rows: TM,
        columnTiles: Math.ceil(problem.columns / (LANES * TN)),
      });
    },
  };
}

/** Tiles in registers only. */
function direct(WX: number, TM: number, TN: number): ConvVariant {
  return {
    name: `direct ${TM}×${WX * TN} of ${TM}×${TN}`,
    supports: () => true,
    launch: (problem) =>
      run('conv/conv_direct.wgsl', problem, {
        consts: { TM, TN },
        overrides: { WX },
        rows: TM,
        columnTiles: Math.ceil(problem.columns / (WX * TN)),
      }),
  };
}

/** Tiles in workgroup memory. */
function tiled(WX: number, WY: number, TM: number, TN: number): ConvVariant {
  return {
    name: `tiled ${WY * TM}×${WX * TN} of ${TM}×${TN}`,
    supports: () => true,
    launch: (problem) =>
      run('conv/conv_tiled.wgsl', problem, {
        consts: { WX, WY, TM, TN },
        rows: WY * TM,
        columnTiles: Math.ceil(problem.columns / (WX * TN)),
      }),
  };
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

/** Whether the variant `run` is the faster: windows of a run overlap, and image rows are not much shorter than a run. */
function runPays(problem: ConvProblem): boolean {
  const { m, columns, k, groups, gridWidth, tapRow } = problem;
  if (tapRow === undefined || groups * m * columns * k < MIN_RUN_PRODUCTS) return false;
  const { KW, STEP, TAP } = tapRow;
  const across = (RUN - 1) * STEP + (KW - 1) * TAP + 1;
  return across < RUN * KW && gridWidth >= RUN - 1 && RUNS[0]!.supports(problem);
}

/** Columns of a lane: as many as pay (eight), fewer where the last tile would be mostly empty. */
function tileWidth(columns: number, lanes: number): number {
  const padded = (width: number): number => Math.ceil(columns / (lanes * width)) * lanes * width;
  return [8, 6, 4].reduce((best, width) => (padded(width) < padded(best) ? width : best));
}

/** Without measurements. A group of one row has nothing to share between rows. */
function rule(problem: ConvProblem): ConvVariant {
  const { m, columns } = problem;
  const { software } = problem.output.storage.engine.adapter;
  const lanes = lanesOf(problem);
  if (m > 1 && !software) return m <= 16 ? TILED.low : m <= 32 ? TILED.middle : TILED.high;
  if (m === 1 || lanes === undefined) {
    const WX = software ? WIDTHS.software : WIDTHS.gpu;
    return DIRECTS[software ? 0 : 1]![m === 1 ? 0 : m <= 4 ? 1 : 2]![columns <= WX ? 0 : 1]!;
  }
  const height = m <= 4 ? 0 : m <= 8 ? 1 : 2;
  if (runPays(problem)) return RUNS[height]!;
  return SUBGROUPS[height]![columns <= lanes ? 0 : [4, 6, 8].indexOf(tileWidth(columns, lanes)) + 1]!;
}

export const CONV: Family<ConvProblem> = {
  name: 'conv2d',
  variants: [...DIRECTS.flat(2), ...Object.values(TILED), ...SUBGROUPS.flat(), ...RUNS],
  rule,
  classOf: ({ inputs: [a], pass, m, columns, k, groups, gridWidth, tapRow }) => {
    const row = tapRow === undefined ? '' : ` row ${tapRow.KW}/${tapRow.STEP}/${tapRow.TAP}`;
    const sizes = [groups, m, columns, k].map(sizeBucket).join('×');
    return `${pass} ${a.dtype} ${sizes} width ${sizeBucket(gridWidth)}${row}`;
  },
  flops: ({ groups, m, columns, k }) => 2 * groups * m * columns * k,
};

/** Whether a window stays inside an image of this shape everywhere, which saves the bounds checks. */
function staysInside({ padding }: ConvAttrs): boolean {
  return padding[0] === 0 && padding[1] === 0;
}

/** x [n, c, h, w] ⋆ weight [o, c/groups, kh, kw] (+ bias [o]) → [n, o, oh, ow]; all dense. */
export function launchConv(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  out: readonly [number, number],
  attrs: ConvAttrs,
): Tensor {
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const [outputs, perGroup, kh, kw] = weight.shape as [number, number, number, number];
  const { stride, padding, dilation, groups } = attrs;
  const m = outputs / groups;
  const plane = out[0] * out[1];
  const k = perGroup * kh * kw;
  const c = empty(x.engine, [n, outputs, ...out], x.dtype);
  launchBest(CONV, {
    inputs: [operandOf(weight), operandOf(x), bias && operandOf(bias)],
    output: operandOf(c),
    pass: 'forward',
    check: !staysInside(attrs),
    m,
    columns: n * plane,
    k,
    parts: 1,
    part: k,
    groups,
    gridWidth: out[1],
    tapRow: { KW: kw, STEP: stride[1], TAP: dilation[1], FLIP: 0 },
    params: {
      grid: plane,
      taps: kh * kw,
      taps_width: kw,
      height,
      width,
      step_y: stride[0],
      step_x: stride[1],
      start_y: -padding[0],
      start_x: -padding[1],
      tap_y: dilation[0],
      tap_x: dilation[1],
      image_x: channels * height * width,
      group_x: perGroup * height * width,
      image_grid: outputs * plane,
      row_grid: out[1],
      column_grid: 1,
      channel_taps: kh * kw,
      row_taps: kw,
      column_taps: 1,
      row_a: k,
      group_a: m * k,
      row_c: plane,
      group_c: m * plane,
      part_c: 0,
    },
  });
  return c;
}

/** The taps along one axis that meet the input rows r, r + s, r + 2s, …: first, first + every, …, `count` of them. */
function tapsOfRemainder(
  remainder: number,
  kernel: number,
  stride: number,
  padding: number,
  dilation: number,
): { first: number; every: number; count: number } {
  const meets = (tap: number): boolean => (remainder + padding - tap * dilation) % stride === 0;
  const all = Array.from({ length: kernel }, (_, tap) => tap).filter(meets);
  const first = all[0] ?? 0;
  return { first, every: (all[1] ?? first + stride) - first, count: all.length };
}

/** Gradient of the input [n, c, h, w] from that of the output [n, o, oh, ow]; all dense. */
export function launchConvInputGrad(
  grad: Tensor,
  weight: Tensor,
  size: readonly [number, number],
  attrs: ConvAttrs,
): Tensor {
  const [n, outputs, oh, ow] = grad.shape as [number, number, number, number];
  const [, m, kh, kw] = weight.shape as [number, number, number, number];
  const [height, width] = size;
  const { stride, padding, dilation, groups } = attrs;
  const perGroup = outputs / groups;
  const c = empty(grad.engine, [n, m * groups, height, width], grad.dtype);
  for (let ry = 0; ry < Math.min(stride[0], height); ry++) {
    const rows = tapsOfRemainder(ry, kh, stride[0], padding[0], dilation[0]);
    for (let rx = 0; rx < Math.min(stride[1], width); rx++) {
      const columns = tapsOfRemainder(rx, kw, stride[1], padding[1], dilation[1]);
      const gridHeight = Math.ceil((height - ry) / stride[0]);
      const gridWidth = Math.ceil((width - rx) / stride[1]);
      const taps = rows.count * columns.count;
      launchBest(CONV, {
        // From the first tap, to the first pixel, of this remainder.
        inputs: [
          { ...operandOf(weight), offset: weight.offset + rows.first * kw + columns.first },
          operandOf(grad),
          undefined,
        ],
        output: { ...operandOf(c), offset: c.offset + ry * width + rx },
        pass: 'input gradient',
        check: true,
        m,
        columns: n * gridHeight * gridWidth,
        k: perGroup * taps,
        parts: 1,
        part: perGroup * taps,
        groups,
        gridWidth,
        tapRow: { KW: columns.count, STEP: 1, TAP: (columns.every * dilation[1]) / stride[1], FLIP: 1 },
        params: {
          grid: gridHeight * gridWidth,
          taps: Math.max(1, taps),
          taps_width: Math.max(1, columns.count),
          height: oh,
          width: ow,
          step_y: 1,
          step_x: 1,
          // Whole numbers wherever there is a tap.
          start_y: Math.floor((ry + padding[0] - rows.first * dilation[0]) / stride[0]),
          start_x: Math.floor((rx + padding[1] - columns.first * dilation[1]) / stride[1]),
          tap_y: -(rows.every * dilation[0]) / stride[0],
          tap_x: -(columns.every * dilation[1]) / stride[1],
          image_x: outputs * oh * ow,
          group_x: perGroup * oh * ow,
          image_grid: m * groups * height * width,
          row_grid: stride[0] * width,
          column_grid: stride[1],
          channel_taps: m * kh * kw,
          row_taps: rows.every * kw,
          column_taps: columns.every,
          row_a: kh * kw,
          group_a: perGroup * m * kh * kw,
          row_c: height * width,
          group_c: m * height * width,
          part_c: 0,
        },
      });
    }
  }
  return c;
}

/** Gradient of the weight [o, c/groups, kh, kw] (f32) from that of the output and the input; all dense. */
export function launchConvWeightGrad(
  grad: Tensor,
  x: Tensor,
  kernel: readonly [number, number],
  attrs: ConvAttrs,
): Tensor {
  const [n, outputs, oh, ow] = grad.shape as [number, number, number, number];
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const { stride, padding, dilation, groups } = attrs;
  const m = outputs / groups;
  const perGroup = channels / groups;
  const plane = oh * ow;
  const taps = kernel[0] * kernel[1];
  const shape: Shape = [outputs, perGroup, ...kernel];
  const k = n * plane;
  const parts = Math.max(1, Math.min(Math.ceil(k / PART), Math.floor(PARTIAL_LIMIT / sizeOf(shape))));
  // Whole subgroups of values, so that only the last part has a short end.
  const part = 32 * Math.ceil(k / parts / 32);
  const used = Math.ceil(k / part);
  const c = empty(x.engine, [used, ...shape]);
  launchBest(CONV, {
    inputs: [operandOf(grad), operandOf(x), undefined],
    output: operandOf(c),
    pass: 'weight gradient',
    check: !staysInside(attrs),
    m,
    columns: perGroup * taps,
    k,
    parts: used,
    part,
    groups,
    gridWidth: ow,
    params: {
      grid: plane,
      taps,
      taps_width: kernel[1],
      height,
      width,
      step_y: stride[0],
      step_x: stride[1],
      start_y: -padding[0],
      start_x: -padding[1],
      tap_y: dilation[0],
      tap_x: dilation[1],
      image_x: channels * height * width,
      group_x: perGroup * height * width,
      image_grid: outputs * plane,
      row_grid: ow,
      column_grid: 1,
      channel_taps: taps,
      row_taps: kernel[1],
      column_taps: 1,
      row_a: plane,
      group_a: m * plane,
      row_c: perGroup * taps,
      group_c: m * perGroup * taps,
      part_c: sizeOf(shape),
    },
  });
  const total = used === 1 ? c.view(shape, c.strides.slice(1), c.offset) : sum(c, 0);
  c.dispose();
  return total;
}
