import { EliError, nameOf } from '../errors.ts';
import { expectShape, type Shape, showShape } from '../tensor/shape.ts';
import { checkTensor, type Tensor } from '../tensor/tensor.ts';

/** One number for rows and columns alike, or [rows, columns]. */
export type Pair = number | readonly [number, number];

/** How a window moves over an image, in elements; each pair is [rows, columns]. */
export interface Window {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
}

/** @throws EliError `ARGUMENT` unless `value` is a whole number ≥ `least`, or two of them. */
export function pair(op: string, name: string, value: Pair, least: number): readonly [number, number] {
  const both = typeof value === 'number' ? ([value, value] as const) : value;
  if (!Array.isArray(both) || both.length !== 2 || both.some((n) => !Number.isInteger(n) || n < least)) {
    throw new EliError(
      'ARGUMENT',
      `${op}: ${name} is ${nameOf(value)}, not a whole number of at least ${least}, or two of them`,
    );
  }
  return [both[0], both[1]];
}

/** @throws EliError `SHAPE` unless `x` is [n, c, height, width]. */
export function checkImage(op: string, x: Tensor): void {
  checkTensor(`${op}: x`, x);
  const hint = 'a single image has n = 1: reshape it';
  expectShape(`${op}: x`, x.shape, ['n', 'channels', 'height', 'width'], hint);
}

/**
 * Height and width of the output of a window over an image [..., height, width]: ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1; with
 * `ceil` rounded up, except for a last window that would start in the padding at the far end (PyTorch's rule).
 * @throws EliError `SHAPE` when the window is larger than the padded image.
 */
export function windowOutput(op: string, image: Shape, window: Window, ceil = false): [number, number] {
  const { kernel, stride, padding, dilation } = window;
  const out = [0, 1].map((d) => {
    const size = image.at(d - 2)!;
    const room = size + 2 * padding[d] - dilation[d] * (kernel[d] - 1) - 1;
    if (room < 0) return 0;
    if (!ceil) return Math.floor(room / stride[d]) + 1;
    const count = Math.ceil(room / stride[d]) + 1;
    return (count - 1) * stride[d] >= size + padding[d] ? count - 1 : count;
  });
  if (out.some((n) => n < 1)) {
    const reach = kernel.map((k, d) => dilation[d] * (k - 1) + 1);
    const padded = kernel.map((_, d) => image.at(d - 2)! + 2 * padding[d]);
    throw new EliError(
      'SHAPE',
      `${op}: a window of ${reach.join(' × ')} is larger than the padded image of ${padded.join(' × ')} (x ${showShape(image)})`,
      { hint: 'use a smaller kernel or dilation, or more padding' },
    );
  }
  return out as [number, number];
}

/** @throws EliError `SHAPE` unless `groups` divides both numbers of channels. */
export function checkGroups(op: string, channels: number, outputs: number, groups: number): void {
  if (!Number.isInteger(groups) || groups < 1 || channels % groups !== 0 || outputs % groups !== 0) {
    throw new EliError(
      'SHAPE',
      `${op}: ${channels} input and ${outputs} output channels do not divide into ${groups} groups`,
      { hint: 'groups must divide the channels of x and the outputs of weight' },
    );
  }
}
