import type { StateDict } from '../../nn/module.ts';
import { add } from '../../ops/binary.ts';
import { tensor } from '../../tensor/create.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { LatentPairs } from '../fit.ts';
import { meanRow } from '../moments.ts';
import { ClosedForm, checkPaired, stateTensor } from './closed-form.ts';

/** z ↦ z + mean(previous − current). */
export class MeanShift extends ClosedForm {
  readonly name = 'mean-shift';
  readonly latent: number;
  /** [d] */
  readonly shift: Float32Array<ArrayBuffer>;

  constructor(shift: Float32Array<ArrayBuffer>) {
    super();
    this.latent = shift.length;
    this.shift = shift;
  }

  /** @throws EliError `SHAPE` when the latents do not pair up */
  static async fit(pairs: LatentPairs): Promise<MeanShift> {
    checkPaired('mean-shift', pairs);
    const from = await meanRow(pairs.current);
    const to = await meanRow(pairs.previous);
    return new MeanShift(to.map((value, i) => value - from[i]!));
  }

  /** The map that `state` gave, of latents of d. @throws EliError `FORMAT` */
  static fromState(state: StateDict, d = state.shift?.shape[0] ?? 0): MeanShift {
    return new MeanShift(stateTensor('mean-shift', state, 'shift', [d]));
  }

  override align(latents: Tensor): Tensor {
    const { engine } = latents;
    return engine.tidy(() => add(latents, tensor(engine, this.shift, [1, this.latent])));
  }

  override state(): StateDict {
    return { shift: { shape: [this.latent], data: this.shift } };
  }
}
