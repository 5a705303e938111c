import { EliError } from '../../errors.ts';
import { writeSafetensors } from '../../files/safetensors.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateToTensors } from '../../nn/state-file.ts';
import { type Shape, sameShape, showShape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { LatentPairs } from '../fit.ts';
import type { LatentMap, MapFormat } from './map.ts';

/** Where the tensors of a closed form are in its own file. */
export const CLOSED_FORM_PREFIX = 'control.';

/**
 * A map that a formula gives from the pairs, without training. An honest comparison shows it beside the aligner (it is
 * then called a control), and the aligner's chains may start at it. It holds nothing on the device.
 */
export abstract class ClosedForm implements LatentMap {
  abstract readonly name: string;
  abstract readonly latent: number;

  abstract align(latents: Tensor): Tensor;

  /** What the map is made of, off the device. */
  abstract state(): StateDict;

  async save(path: string): Promise<void> {
    const tensors = stateToTensors(this.state(), CLOSED_FORM_PREFIX);
    const format = 'eli-webgpu control' satisfies MapFormat;
    await writeSafetensors(path, tensors, { format, control: this.name });
  }

  dispose(): void {}

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {}
}

/** @throws EliError `SHAPE` unless both are latents [n, d] of the same inputs */
export function checkPaired(what: string, { previous, current }: LatentPairs): void {
  if (previous.rank === 2 && sameShape(previous.shape, current.shape)) return;
  throw new EliError(
    'SHAPE',
    `${what}: previous latents ${showShape(previous.shape)} and current latents ${showShape(current.shape)} do not pair up`,
    { hint: 'both are [n, d]: the same n inputs through the previous and the current model' },
  );
}

/** A tensor of a state. @throws EliError `FORMAT` when it is missing or has another shape */
export function stateTensor(
  what: string,
  state: StateDict,
  name: string,
  shape: Shape,
): Float32Array<ArrayBuffer> {
  const found = state[name];
  if (found === undefined || !sameShape(found.shape, shape)) {
    throw new EliError(
      'FORMAT',
      `the ${what} map needs a tensor ${name} of shape ${showShape(shape)}, it has ${found === undefined ? 'none' : showShape(found.shape)}`,
    );
  }
  return found.data;
}
