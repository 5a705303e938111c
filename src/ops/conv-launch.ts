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

/** Values of k in one part of a weight gradient: short sums are accurate, and parts run in parallel. */
const PART = 1024;
/** Most elements of all partial sums of a weight gradient together. */
const PARTIAL_LIMIT = 1 << 24;

/** How windows lie on x, for the forward pass and the weight gradient, in the terms of lib/conv.wgsl. */
function windowParams(x: Tensor, weight: Shape, [oh, ow]: readonly [number, number], attrs: ConvAttrs) {
  const [, channels, height, width] = x.shape;
  const [outputs, perGroup, kh, kw] = weight;
  return {
    grid: oh * ow,
    grid_width: ow,
    taps: kh * kw,
    taps_width: kw,
    size: [height, width],
    step: attrs.stride,
    start: attrs.padding.map((n) => -n),
    tap: attrs.dilation,
    image_x: channels * height * width,
    group_x: perGroup * height * width,
    grid_strides: [outputs * oh * ow, ow, 1],
    tap_strides: [kh * kw, kw, 1],
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
  const n = x.shape[0];
  const [outputs, perGroup, kh, kw] = weight.shape;
  const { stride, dilation, groups } = attrs;
  const m = outputs / groups;
  const plane = out[0] * out[1];
  const k = perGroup * kh * kw;
  const c = empty(x.engine, [n, outputs, ...out], x.dtype);
  launchBest(CONV, {
    inputs: [operandOf(weight), operandOf(x), bias && operandOf(bias)],
    output: operandOf(c),
    pass: 'forward',
    check: attrs.padding.some((n) => n > 0),
    m,
    columns: n * plane,
    k,
    groups,
    tapRow: { KW: kw, STEP: stride[1], TAP: dilation[1], FLIP: 0 },
    params: { ...windowParams(x, weight.shape, out, attrs), row_a: k, group_a: m * k, row_c: plane },
  });
  return c;
}

/**
 * Along axis d of an input gradient, for the inputs r, r + s, r + 2s, … below `size`: how many they are, which taps meet
 * them (first, first + every, …, `count` of them), and which output the first tap reads for the first of them.
 */
function axisOfRemainder(
  d: 0 | 1,
  remainder: number,
  size: number,
  kernel: number,
  { stride, padding, dilation }: ConvAttrs,
) {
  const [s, dilated] = [stride[d], dilation[d]];
  const from = remainder + padding[d];
  const taps = [...Array(kernel).keys()].filter((tap) => (from - tap * dilated) % s === 0);
  const first = taps[0] ?? 0;
  const every = (taps[1] ?? first + s) - first;
  return {
    grid: Math.ceil((size - remainder) / s),
    first,
    every,
    count: taps.length,
    // Both are whole numbers wherever there is a tap.
    start: Math.floor((from - first * dilated) / s),
    tap: -(every * dilated) / s,
  };
}

/** Gradient of the input [n, c, h, w] from that of the output [n, o, oh, ow]; all dense. */
export function launchConvInputGrad(
  grad: Tensor,
  weight: Tensor,
  [height, width]: readonly [number, number],
  attrs: ConvAttrs,
): Tensor {
  const [n, outputs, oh, ow] = grad.shape;
  const [, m, kh, kw] = weight.shape;
  const { stride, groups } = attrs;
  const perGroup = outputs / groups;
  const c = empty(grad.engine, [n, m * groups, height, width], grad.dtype);
  for (let ry = 0; ry < Math.min(stride[0], height); ry++) {
    const rows = axisOfRemainder(0, ry, height, kh, attrs);
    for (let rx = 0; rx < Math.min(stride[1], width); rx++) {
      const columns = axisOfRemainder(1, rx, width, kw, attrs);
      const grid = rows.grid * columns.grid;
      const taps = rows.count * columns.count;
      // From the first tap, to the first pixel, of this remainder.
      const a = { ...operandOf(weight), offset: weight.offset + rows.first * kw + columns.first };
      launchBest(CONV, {
        inputs: [a, operandOf(grad), undefined],
        output: { ...operandOf(c), offset: c.offset + ry * width + rx },
        pass: 'input gradient',
        check: true,
        m,
        columns: n * grid,
        k: perGroup * taps,
        groups,
        tapRow: { KW: columns.count, STEP: 1, TAP: -columns.tap, FLIP: 1 },
        params: {
          grid,
          grid_width: columns.grid,
          taps: Math.max(1, taps),
          taps_width: Math.max(1, columns.count),
          size: [oh, ow],
          step: [1, 1],
          start: [rows.start, columns.start],
          tap: [rows.tap, columns.tap],
          image_x: outputs * oh * ow,
          group_x: perGroup * oh * ow,
          grid_strides: [m * groups * height * width, stride[0] * width, stride[1]],
          tap_strides: [m * kh * kw, rows.every * kw, columns.every],
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
  const [n, outputs, oh, ow] = grad.shape;
  const { groups } = attrs;
  const m = outputs / groups;
  const perGroup = x.shape[1] / groups;
  const plane = oh * ow;
  const columns = perGroup * kernel[0] * kernel[1];
  const shape: Shape = [outputs, perGroup, ...kernel];
  const k = n * plane;
  const most = Math.max(1, Math.min(Math.ceil(k / PART), Math.floor(PARTIAL_LIMIT / sizeOf(shape))));
  // Whole subgroups of values, so that only the last part has a short end.
  const part = 32 * Math.ceil(k / most / 32);
  const parts = Math.ceil(k / part);
  const c = empty(x.engine, [parts, ...shape]);
  launchBest(CONV, {
    inputs: [operandOf(grad), operandOf(x), undefined],
    output: operandOf(c),
    pass: 'weight gradient',
    check: attrs.padding.some((n) => n > 0),
    m,
    columns,
    k,
    parts,
    part,
    groups,
    params: {
      ...windowParams(x, shape, [oh, ow], attrs),
      row_a: plane,
      group_a: m * plane,
      row_c: columns,
    },
  });
  const total = parts === 1 ? c.view(shape, c.strides.slice(1), c.offset) : sum(c, 0);
  c.dispose();
  return total;
}
