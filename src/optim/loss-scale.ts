import { checkNumber, checkWhole, POSITIVE } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Settings of a `LossScaler`. */
export interface LossScaleOptions {
  /** Initial scale. Default 2¹⁶. */
  readonly initial?: number;
  /** Successive steps with finite gradients after which the scale doubles. Default 2,000. */
  readonly interval?: number;
}

/** The current state of a loss scale. */
export interface LossScaling {
  readonly scale: number;
  /** Steps skipped because a gradient was not finite. */
  readonly skipped: number;
}

/**
 * A factor of the loss, on the device, that lifts small gradients into the range of f16 (Micikevicius et al., Mixed
 * Precision Training, ICLR 2018). A gradient that is not finite halves it and skips the step; `interval` successive other
 * steps double it. Use: `optimizer.step(grad(loss, parameters, { gradOutput: scaler.scale }), scaler)`.
 */
export class LossScaler {
  /** The scale, a scalar: the gradient of the scaled loss with respect to the loss. */
  readonly scale: Tensor;
  /** State for checkpoints: scale, steps since its last change, skipped steps. */
  readonly state: Tensor;
  readonly interval: number;

  /** @throws EliError `ARGUMENT` unless the scale is finite and above 0 and the interval a whole number from 1. */
  constructor(engine: Engine, { initial = 2 ** 16, interval = 2000 }: LossScaleOptions = {}) {
    checkNumber('LossScaler: initial', initial, POSITIVE);
    checkWhole('LossScaler: interval', interval, 1);
    this.interval = interval;
    this.state = engine.keep(tensor(engine, [initial, 0, 0]));
    this.scale = engine.keep(this.state.view([], [], 0));
  }

  /** Reads its state. */
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
