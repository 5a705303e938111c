import { empty } from '../tensor/create.ts';
import { type Shape, sizeOf } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { CONV } from './conv-variants.ts';
import type { Window } from './conv-window.ts';
import { launchBest, operandOf } from './core/variants.ts';
import { sum } from './reduce.ts';

/** A window with its channel groups. */
export interface ConvAttrs extends Omit<Window, 'kernel'> {
  readonly groups: number;
}

/** Values of k that one part of a weight gradient sums: short sums are accurate, and many run side by side. */
const PART = 1024;
/** Elements that the partial sums of a weight gradient may take together. */
const PARTIAL_LIMIT = 1 << 24;

/** Whether a window stays inside an image of this shape everywhere, which saves the bounds checks. */
function staysInside({ padding }: ConvAttrs): boolean {
  return padding[0] === 0 && padding[1] === 0;
}

/** How windows of a kernel lie on x, of forward and weight gradient, in the terms of lib/conv.wgsl. */
function windowParams(x: Tensor, weight: Shape, out: readonly [number, number], attrs: ConvAttrs) {
  const [, channels, height, width] = x.shape as [number, number, number, number];
  const [outputs, perGroup, kh, kw] = weight as [number, number, number, number];
  const { stride, padding, dilation } = attrs;
  return {
    grid: out[0] * out[1],
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
    image_grid: outputs * out[0] * out[1],
    row_grid: out[1],
    column_grid: 1,
    channel_taps: kh * kw,
    row_taps: kw,
    column_taps: 1,
  };
}

/** x [n, c, h, w] ⋆ weight [o, c/groups, kh, kw] (+ bias [o]) → [n, o, oh, ow]; all dense. */
export function launchConv(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | undefined,
  out: readonly [number, number],
  attrs: ConvAttrs,
): Tensor {
  const n = x.shape[0]!;
  const [outputs, perGroup, kh, kw] = weight.shape as [number, number, number, number];
  const { stride, dilation, groups } = attrs;
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
    groups,
    gridWidth: out[1],
    tapRow: { KW: kw, STEP: stride[1], TAP: dilation[1], FLIP: 0 },
    params: {
      ...windowParams(x, weight.shape, out, attrs),
      row_a: k,
      group_a: m * k,
      row_c: plane,
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
  const { groups } = attrs;
  const m = outputs / groups;
  const perGroup = x.shape[1]! / groups;
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
      ...windowParams(x, shape, [oh, ow], attrs),
      row_a: plane,
      group_a: m * plane,
      row_c: perGroup * taps,
    },
  });
  const total = used === 1 ? c.view(shape, c.strides.slice(1), c.offset) : sum(c, 0);
  c.dispose();
  return total;
}
