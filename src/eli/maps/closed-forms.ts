import { brief, checkOptions, EliError, nameOf } from '../../errors.ts';
import { type Safetensors, writeSafetensors } from '../../files/safetensors.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateFromTensors, stateTensor, stateToTensors } from '../../nn/state-file.ts';
import { add } from '../../ops/binary.ts';
import { linear } from '../../ops/matmul.ts';
import { tensor } from '../../tensor/create.ts';
import { sameShape, showShape } from '../../tensor/shape.ts';
import { checkTensor, type Tensor } from '../../tensor/tensor.ts';
import { addRidge, cholesky, choleskySolve } from '../cholesky.ts';
import type { LatentPairs } from '../fit.ts';
import { meanRow, scatter } from '../moments.ts';
import type { LatentMap, MapFormat } from './map.ts';

/** Prefix of a closed form's tensors in its file. */
const PREFIX = 'control.';

/**
 * A map that a formula gives from the pairs, without training. It serves as a control for the aligner, and the aligner's
 * chains may start where it leads. It holds nothing on the device.
 */
export abstract class ClosedForm implements LatentMap {
  abstract readonly name: string;
  abstract readonly latent: number;

  abstract align(latents: Tensor): Tensor;

  /** The parameters of the map, on the host. */
  abstract state(): StateDict;

  async save(path: string): Promise<void> {
    const format = 'eli-webgpu control' satisfies MapFormat;
    await writeSafetensors(path, stateToTensors(this.state(), PREFIX), { format, control: this.name });
  }

  dispose(): void {}

  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void {}
}

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

  /** The map with this state, for latents of size d. @throws EliError `FORMAT` */
  static fromState(state: StateDict, d = state.shift?.shape[0] ?? 0): MeanShift {
    return new MeanShift(stateTensor('mean-shift map', state, 'shift', [d]));
  }

  override align(latents: Tensor): Tensor {
    const { engine } = latents;
    return engine.tidy(() => add(latents, tensor(engine, this.shift, [1, this.latent])));
  }

  override state(): StateDict {
    return { shift: { shape: [this.latent], data: this.shift } };
  }
}

/** z ↦ W z + b by ridge regression of the previous model's latents on the current model's. */
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
   * W = Yᵀ X (Xᵀ X + λ · mean(diag Xᵀ X) · I)⁻¹ on centred latents; b maps the mean to the mean.
   * @param lambda λ, as a share of the mean diagonal of the Gram matrix
   * @throws EliError `SHAPE` when the latents do not pair up, `ARGUMENT` for latents that have no solution
   */
  static async fit(pairs: LatentPairs, lambda = 1e-4): Promise<RidgeMap> {
    checkPaired('ridge', pairs);
    const { previous, current } = pairs;
    const d = current.shape[1]!;
    const gram = await scatter(current, current);
    const cross = await scatter(current, previous);
    // A dimension that never moves (a dead unit) leaves the ridge to the others.
    addRidge(gram, d, lambda);
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

  /** The map with this state, for latents of size d. @throws EliError `FORMAT` */
  static fromState(state: StateDict, d = state.bias?.shape[0] ?? 0): RidgeMap {
    const weight = stateTensor('ridge map', state, 'weight', [d, d]);
    return new RidgeMap(weight, stateTensor('ridge map', state, 'bias', [d]));
  }

  override align(latents: Tensor): Tensor {
    const { engine } = latents;
    const { latent: d, weight, bias } = this;
    return engine.tidy(() => linear(latents, tensor(engine, weight, [d, d]), tensor(engine, bias, [d])));
  }

  override state(): StateDict {
    const { latent: d, weight, bias } = this;
    return { weight: { shape: [d, d], data: weight }, bias: { shape: [d], data: bias } };
  }
}

/** How a closed form is fitted, and restored from its state. */
interface ClosedFormClass {
  fit(pairs: LatentPairs): Promise<ClosedForm>;
  fromState(state: StateDict, latent?: number): ClosedForm;
}

/** All closed forms, by their `name`. */
export const CLOSED_FORMS = {
  ridge: RidgeMap,
  'mean-shift': MeanShift,
} as const satisfies Record<string, ClosedFormClass>;

/** The name of a closed form. */
export type ClosedFormName = keyof typeof CLOSED_FORMS;

/**
 * Fits a closed form to latents of the same inputs by the previous and the current model, [n, d] each. Like the aligner,
 * it needs data of the current task only.
 * @throws EliError `SHAPE` when the latents do not pair up, `ARGUMENT` for latents that have no solution
 */
export function fitMap(name: ClosedFormName, pairs: LatentPairs): Promise<ClosedForm> {
  if (!Object.hasOwn(CLOSED_FORMS, name)) {
    const known = Object.keys(CLOSED_FORMS).join(', ');
    throw new EliError('ARGUMENT', `fitMap: there is no ${nameOf(name)}, known: ${known}`);
  }
  return CLOSED_FORMS[name].fit(pairs);
}

/** The closed form in a file that its `save` wrote. @throws EliError `FORMAT` saying what is wrong with it */
export function closedFormFromFile({ tensors, metadata: { control = '' } }: Safetensors): ClosedForm {
  if (!Object.hasOwn(CLOSED_FORMS, control)) {
    const known = Object.keys(CLOSED_FORMS).join(', ');
    throw new EliError('FORMAT', `there is no control ${brief(control)}, known: ${known}`);
  }
  return CLOSED_FORMS[control as ClosedFormName].fromState(stateFromTensors(tensors, PREFIX));
}

/** @throws EliError `SHAPE` unless both are latents [n, d] of the same inputs */
export function checkPaired(what: string, pairs: LatentPairs): void {
  checkOptions(what, pairs, 'give { previous, current }');
  const { previous, current } = pairs;
  checkTensor(`${what}: previous`, previous);
  checkTensor(`${what}: current`, current);
  if (previous.rank === 2 && sameShape(previous.shape, current.shape)) return;
  throw new EliError(
    'SHAPE',
    `${what}: previous latents ${showShape(previous.shape)} and current latents ${showShape(current.shape)} do not pair up`,
    { hint: 'both are [n, d]: the same n inputs through the previous and the current model' },
  );
}
