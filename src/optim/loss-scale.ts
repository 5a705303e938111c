import { checkNumber, checkWhole, POSITIVE } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** How a loss scale starts and changes. */
export interface LossScaleOptions {
  /** Scale at first. Default 2¹⁶. */
  readonly initial?: number;
  /** Steps in a row with finite gradients after which the scale doubles. Default 2,000. */
  readonly interval?: number;
}

/** Where a loss scale stands. */
export interface LossScaling {
  readonly scale: number;
  /** Steps that were left out because a gradient was not finite. */
  readonly skipped: number;
}

/**
 * A factor of the loss, kept on the device, that lifts small gradients into the range of f16 (Micikevicius et al., Mixed
 * Precision Training, ICLR 2018). It halves when a gradient is not finite, and that step is left out; it doubles after
 * `interval` steps without. Use: `optimizer.step(grad(loss, parameters, { gradOutput: scaler.scale }), scaler)`.
 */
export class LossScaler {
  /** The scale, a scalar: the gradient of the scaled loss with respect to the loss. */
  readonly scale: Tensor;
  /** Scale, steps since it last changed, steps left out: for checkpoints. */
  readonly state: Tensor;
  readonly interval: number;

  /** @throws EliError `ARGUMENT` for a scale that is not above 0 or an interval that is not a whole number from 1 */
  constructor(engine: Engine, { initial = 2 ** 16, interval = 2000 }: LossScaleOptions = {}) {
    checkNumber('LossScaler: initial', initial, POSITIVE);
    checkWhole('LossScaler: interval', interval, 1);
    this.interval = interval;
    this.state = engine.keep(zeros(engine, [3]));
    this.state.write([initial, 0, 0]);
    this.scale = engine.keep(this.state.view([], [], 0));
  }

  /** Reads where it stands. */
  async read(): Promise<LossScaling> {
    const [scale, , skipped] = await this.state.readFloats();
    return { scale: scale!, skipped: skipped! };
  }

  /** Frees the scale and its counters. */
  dispose(): void {
    this.scale.dispose();
    this.state.dispose();
  }
}
