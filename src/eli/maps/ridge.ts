import type { StateDict } from '../../nn/module.ts';
import { linear } from '../../ops/matmul.ts';
import { tensor } from '../../tensor/create.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { cholesky, choleskySolve } from '../cholesky.ts';
import type { LatentPairs } from '../fit.ts';
import { meanRow, scatter } from '../moments.ts';
import { ClosedForm, checkPaired, stateTensor } from './closed-form.ts';

/** z ↦ W z + b by ridge regression of the previous model's latents on the current one's. */
export class RidgeMap extends ClosedForm {
  readonly name = 'ridge';
  readonly latent: number;
  /** W [d, d], out by in, and b [d]. */
  readonly weight: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;

  constructor(weight: Float32Array<ArrayBuffer>, bias: Float32Array<ArrayBuffer>) {
    super();
    this.latent = bias.length;
    this.weight = weight;
    this.bias = bias;
  }

  /**
   * W = Yᵀ X (Xᵀ X + λ · mean(diag Xᵀ X) · I)⁻¹ on centred latents, b what takes the mean to the mean.
   * @param lambda λ, a share of the mean diagonal of the Gram matrix
   * @throws EliError `SHAPE` when the latents do not pair up, `ARGUMENT` for latents that have no solution
   */
  static async fit(pairs: LatentPairs, lambda = 1e-4): Promise<RidgeMap> {
    checkPaired('ridge', pairs);
    const { previous, current } = pairs;
    const d = current.shape[1]!;
    const gram = await scatter(current, current);
    const cross = await scatter(current, previous);
    let trace = 0;
    for (let i = 0; i < d; i++) trace += gram[i * d + i]!;
    // A dimension that never moves (a dead unit) leaves the others' ridge; all of them dead leave none.
    const ridge = trace === 0 ? 1 : (lambda * trace) / d;
    for (let i = 0; i < d; i++) gram[i * d + i]! += ridge;
    const solution = choleskySolve(cholesky(gram, d), cross, d, d);
    const from = await meanRow(current);
    const to = await meanRow(previous);
    const weight = new Float32Array(d * d);
    const bias = new Float32Array(d);
    for (let out = 0; out < d; out++) {
      let moved = 0;
      for (let i = 0; i < d; i++) {
        weight[out * d + i] = solution[i * d + out]!;
        moved += solution[i * d + out]! * from[i]!;
      }
      bias[out] = to[out]! - moved;
    }
    return new RidgeMap(weight, bias);
  }

  /** The map that `state` gave, of latents of d. @throws EliError `FORMAT` */
  static fromState(state: StateDict, d = state.bias?.shape[0] ?? 0): RidgeMap {
    return new RidgeMap(
      stateTensor('ridge', state, 'weight', [d, d]),
      stateTensor('ridge', state, 'bias', [d]),
    );
  }

  override align(latents: Tensor): Tensor {
    const { engine } = latents;
    const { latent: d } = this;
    return engine.tidy(() =>
      linear(latents, tensor(engine, this.weight, [d, d]), tensor(engine, this.bias, [d])),
    );
  }

  override state(): StateDict {
    const { latent: d, weight, bias } = this;
    return { weight: { shape: [d, d], data: weight }, bias: { shape: [d], data: bias } };
  }
}
