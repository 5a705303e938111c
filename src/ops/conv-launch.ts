import type { Engine } from '../gpu/engine.ts';
import { empty } from '../tensor/create.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Window } from './conv-window.ts';
import { sum } from './reduce.ts';

/** The forms of the convolution kernel; `run` computes no weight gradient. */
export type ConvVariant = 'run' | 'subgroup' | 'direct' | 'tiled';

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

interface Tiles {
  readonly file: string;
  readonly consts: Readonly<Record<string, number>>;
  readonly overrides: Readonly<Record<string, number>>;
  readonly rows: number;
  readonly columnTiles: number;
}

/** A row of taps in elements of X: constants of the variant `run`. */
interface TapRow {
  readonly KW: number;
  readonly STEP: number;
  readonly TAP: number;
  readonly FLIP: 0 | 1;
}

/** Products below which the variant `run` is no faster; it needs a pipeline for each width and stride of window. */
const MIN_RUN_PRODUCTS = 1 << 20;

/** Whether the variant `run` is the faster: windows of a run overlap, and image rows are not much shorter than a run. */
function runPays({ m, columns, k, groups, gridWidth, tapRow }: Product): boolean {
  if (tapRow === undefined || groups * m * columns * k < MIN_RUN_PRODUCTS) return false;
  const { KW, STEP, TAP } = tapRow;
  const across = (RUN - 1) * STEP + (KW - 1) * TAP + 1;
  return across < RUN * KW && KW <= MAX_RUN_TAPS && gridWidth >= RUN - 1;
}

/** The variant an adapter is served best by. A group of one row has nothing to share between rows. */
function chooseVariant(engine: Engine, product: Product): ConvVariant {
  if (product.m === 1) return 'direct';
  if (!engine.adapter.software) return 'tiled';
  if (engine.subgroupLanes === undefined) return 'direct';
  return runPays(product) ? 'run' : 'subgroup';
}

/** Columns of a lane: as many as pay (eight), fewer where the last tile would be mostly empty. */
function tileWidth(columns: number, lanes: number): number {
  const padded = (width: number): number => Math.ceil(columns / (lanes * width)) * lanes * width;
  return [8, 6, 4].reduce((best, width) => (padded(width) < padded(best) ? width : best));
}

function tilesOf(engine: Engine, variant: ConvVariant, product: Product): Tiles {
  const { m, columns, gridWidth, tapRow } = product;
  if (variant === 'run') {
    const LANES = engine.subgroupLanes!;
    const TM = m <= 4 ? 4 : m <= 8 ? 8 : 16;
    const runs = (columns / gridWidth) * Math.ceil(gridWidth / RUN);
    return {
      file: 'conv/conv_run.wgsl',
      consts: { TM, TN: RUN, LANES, ...tapRow! },
      overrides: {},
      rows: TM,
      columnTiles: Math.ceil(runs / LANES),
    };
  }
  if (variant === 'subgroup') {
    const LANES = engine.subgroupLanes!;
    const TM = m <= 4 ? 4 : m <= 8 ? 8 : 16;
    const TN = columns <= LANES ? 1 : tileWidth(columns, LANES);
    return {
      file: 'conv/conv_subgroup.wgsl',
      consts: { TM, TN, LANES },
      overrides: {},
      rows: TM,
      columnTiles: Math.ceil(columns / (LANES * TN)),
    };
  }
  if (variant === 'direct') {
    const WX = engine.adapter.software ? 8 : 64;
    const TM = m === 1 ? 1 : m <= 4 ? 4 : 8;
    const TN = columns <= WX ? 1 : 4;
    return {
      file: 'conv/conv_direct.wgsl',
      consts: { TM, TN },
      overrides: { WX },
      rows: TM,
      columnTiles: Math.ceil(columns / (WX * TN)),
    };
  }
  const [WX, WY, TM, TN] = m <= 16 ? [32, 4, 4, 4] : m <= 32 ? [16, 8, 4, 4] : [16, 8, 8, 4];
  return {
    file: 'conv/conv_tiled.wgsl',
    consts: { WX, WY, TM, TN },
    overrides: {},
    rows: WY * TM,
    columnTiles: Math.ceil(columns / (WX * TN)),
  };
}

/** What the kernel sums, in the terms of lib/conv.wgsl. */
interface Product {
  readonly a: Tensor;
  readonly x: Tensor;
  readonly bias?: Tensor | undefined;
  readonly c: Tensor;
  readonly weight: boolean;
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

function run(product: Product, variant = chooseVariant(product.x.engine, product)): void {
  const { a, x, bias, c, m, k, parts, part, groups, columns } = product;
  const { engine } = x;
  const tiles = tilesOf(engine, variant, product);
  const { columnTiles } = tiles;
  const rowTiles = Math.ceil(m / tiles.rows);
  const across = Math.min(columnTiles, MAX_COLUMN_TILES);
  engine.run(tiles.file, {
    storages: [a.storage, x.storage, (bias ?? a).storage, c.storage],
    consts: tiles.consts,
    overrides: {
      ...tiles.overrides,
      WEIGHT: product.weight ? 1 : 0,
      CHECK: product.check ? 1 : 0,
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
      offset_c: c.offset,
      part_c: sizeOf(c.shape.slice(1)),
      offset_bias: bias?.offset ?? 0,
      lanes: engine.subgroupLanes ?? 0,
      grid_width: product.gridWidth,
      ...product.params,
    },
    groups: [across, rowTiles * Math.ceil(columnTiles / across), groups * parts],
  });
}

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
  variant?: ConvVariant,
): Tensor {
  const [n, channels, height, width] = x.shape as [number, number, number, number];
  const [outputs, perGroup, kh, kw] = weight.shape as [number, number, number, number];
  const { stride, padding, dilation, groups } = attrs;
  const m = outputs / groups;
  const plane = out[0] * out[1];
  const k = perGroup * kh * kw;
  const c = empty(x.engine, [n, outputs, ...out]);
  const product: Product = {
    a: weight,
    x,
    bias,
    c,
    weight: false,
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
    },
  };
  run(product, variant);
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
  variant?: ConvVariant,
): Tensor {
  const [n, outputs, oh, ow] = grad.shape as [number, number, number, number];
  const [, m, kh, kw] = weight.shape as [number, number, number, number];
  const [height, width] = size;
  const { stride, padding, dilation, groups } = attrs;
  const perGroup = outputs / groups;
  const c = empty(grad.engine, [n, m * groups, height, width]);
  for (let ry = 0; ry < Math.min(stride[0], height); ry++) {
    const rows = tapsOfRemainder(ry, kh, stride[0], padding[0], dilation[0]);
    for (let rx = 0; rx < Math.min(stride[1], width); rx++) {
      const columns = tapsOfRemainder(rx, kw, stride[1], padding[1], dilation[1]);
      const gridHeight = Math.ceil((height - ry) / stride[0]);
      const gridWidth = Math.ceil((width - rx) / stride[1]);
      const taps = rows.count * columns.count;
      const product: Product = {
        a: weight,
        x: grad,
        c,
        weight: false,
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
          offset_a: weight.offset + rows.first * kw + columns.first,
          offset_c: c.offset + ry * width + rx,
        },
      };
      run(product, variant);
    }
  }
  return c;
}

/** Gradient of the weight [o, c/groups, kh, kw] from that of the output and the input; all dense. */
export function launchConvWeightGrad(
  grad: Tensor,
  x: Tensor,
  kernel: readonly [number, number],
  attrs: ConvAttrs,
  variant?: Exclude<ConvVariant, 'run'>,
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
  const product: Product = {
    a: grad,
    x,
    c,
    weight: true,
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
    },
  };
  run(product, variant);
  const total = used === 1 ? c.view(shape, c.strides.slice(1), c.offset) : sum(c, 0);
  c.dispose();
  return total;
}
