import { sub } from '../../ops/binary.ts';
import { max } from '../../ops/reduce.ts';
import { logSumExp, softmax } from '../../ops/softmax.ts';
import { affine } from '../../ops/unary.ts';
import { readOnce } from '../moments.ts';
import { Gate, type GateBatch, type GateState, need } from './gate.ts';

/** A gate that learns nothing but its threshold. */
abstract class FixedGate extends Gate {
  /** The gate with this state. */
  static fromState(this: new () => FixedGate): Gate {
    return new this();
  }

  override async fit(): Promise<void> {}

  override state(): GateState {
    return { kind: this.name, settings: {}, tensors: {} };
  }
}

/** f(z) = −E(z) of the current latents: the aligner's energy is low where the previous model had its latents. */
export class EnergyGate extends FixedGate {
  readonly name = 'energy';

  override async score(batch: GateBatch): Promise<Float32Array> {
    return (await need(this.name, batch, 'energy').readFloats()).map((energy) => -energy);
  }
}

/** 1 − max softmax of the new head on the current latents (Hendrycks and Gimpel, ICLR 2017). */
export class ConfidenceGate extends FixedGate {
  readonly name = 'confidence';

  override score(batch: GateBatch): Promise<Float32Array> {
    const logits = need(this.name, batch, 'newLogits');
    return readOnce(logits, () => affine(max(softmax(logits), -1), -1, 1));
  }
}

/**
 * A: logsumexp of the old head on the aligned latents − logsumexp of the new head on the current latents, the
 * difference of both heads' free energies (Liu et al., NeurIPS 2020).
 */
export class HeadsGate extends FixedGate {
  readonly name = 'heads';

  override score(batch: GateBatch): Promise<Float32Array> {
    const before = need(this.name, batch, 'oldLogits');
    const now = need(this.name, batch, 'newLogits');
    return readOnce(now, () => sub(logSumExp(before, -1), logSumExp(now, -1)));
  }
}
