import { EliError } from '../errors.ts';
import type { Safetensors, SafetensorsInput } from '../files/safetensors.ts';
import { toFloat32 } from '../files/safetensors.ts';
import { add } from '../ops/binary.ts';
import { linear } from '../ops/matmul.ts';
import { tensor } from '../tensor/create.ts';
import { sameShape, showShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { cholesky, choleskySolve } from './cholesky.ts';
import type { LatentPairs } from './fit.ts';
import { meanRow, scatter } from './moments.ts';

/** Anything that moves the current model's latents [n, d] back to where the previous model had them, [n, d]. */
export interface LatentMap {
  align(latents: Tensor): Tensor;
}

/** A control: a closed form that does what the aligner does, which an honest comparison must show beside it. */
export interface Control extends LatentMap {
  readonly name: ControlName;
  /** Size d of a latent. */
  readonly latent: number;
  /** What `controlFromTensors` makes it from again. */
  toTensors(): Record<string, SafetensorsInput>;
}

export const CONTROLS = ['ridge', 'mean-shift'] as const;
export type ControlName = (typeof CONTROLS)[number];

/**
 * Fits a control to latents of the same inputs by the previous and the current model, [n, d] each: current-task data
 * alone, as the aligner.
 * @throws EliError `SHAPE` when the latents do not pair up, `ARGUMENT` for latents that have no solution.
 */
export function fitControl(name: ControlName, pairs: LatentPairs): Promise<Control> {
  const { previous, current } = pairs;
  if (previous.rank !== 2 || !sameShape(previous.shape, current.shape)) {
    throw new EliError(
      'SHAPE',
      `${name}: previous latents ${showShape(previous.shape)} and current latents ${showShape(current.shape)} do not pair up`,
      { hint: 'both are [n, d]: the same n inputs through the previous and the current model' },
    );
  }
  return name === 'ridge' ? RidgeMap.fit(pairs) : MeanShift.fit(pairs);
}

/** The control that `toTensors` wrote. @throws EliError `FORMAT` for missing or misshaped tensors. */
export function controlFromTensors(
  name: ControlName,
  tensors: Safetensors['tensors'],
  prefix = 'control.',
): Control {
  const take = (key: string, rank: number): { shape: readonly number[]; data: Float32Array<ArrayBuffer> } => {
    const entry = tensors[prefix + key];
    if (entry === undefined || entry.shape.length !== rank) {
      throw new EliError('FORMAT', `the control ${name} has no tensor ${prefix + key} of ${rank} dimensions`);
    }
    return { shape: entry.shape, data: toFloat32(entry) };
  };
  if (name === 'mean-shift') return new MeanShift(take('shift', 1).data);
  const weight = take('weight', 2);
  const bias = take('bias', 1);
  if (!weight.shape.every((n) => n === bias.data.length)) {
    throw new EliError(
      'FORMAT',
      `the control ridge has weight ${showShape(weight.shape)} and bias ${showShape(bias.shape)}, must be [d, d] and [d]`,
    );
  }
  return new RidgeMap(weight.data, bias.data);
}

/** λ as a share of the mean diagonal of the Gram matrix. */
export const RIDGE_LAMBDA = 1e-4;

/** z ↦ W z + b by ridge regression of the previous model's latents on the current one's. */
export class RidgeMap implements Control {
  readonly name = 'ridge';
  readonly latent: number;
  /** W [d, d], out by in, and b [d]. */
  readonly weight: Float32Array<ArrayBuffer>;
  readonly bias: Float32Array<ArrayBuffer>;

  constructor(weight: Float32Array<ArrayBuffer>, bias: Float32Array<ArrayBuffer>) {
    this.latent = bias.length;
    this.weight = weight;
    this.bias = bias;
  }

  /** W = Yᵀ X (Xᵀ X + λ · mean(diag Xᵀ X) · I)⁻¹ on centred latents, b what takes the mean to the mean. */
  static async fit({ previous, current }: LatentPairs, lambda = RIDGE_LAMBDA): Promise<RidgeMap> {
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

  align(latents: Tensor): Tensor {
    const { engine } = latents;
    const { latent: d } = this;
    return engine.tidy(() =>
      linear(latents, tensor(engine, this.weight, [d, d]), tensor(engine, this.bias, [d])),
    );
  }

  toTensors(): Record<string, SafetensorsInput> {
    const { latent: d, weight, bias } = this;
    return {
      'control.weight': { dtype: 'F32', shape: [d, d], data: weight },
      'control.bias': { dtype: 'F32', shape: [d], data: bias },
    };
  }
}

/** z ↦ z + mean(previous − current). */
export class MeanShift implements Control {
  readonly name = 'mean-shift';
  readonly latent: number;
  /** [d] */
  readonly shift: Float32Array<ArrayBuffer>;

  constructor(shift: Float32Array<ArrayBuffer>) {
    this.latent = shift.length;
    this.shift = shift;
  }

  static async fit({ previous, current }: LatentPairs): Promise<MeanShift> {
    const from = await meanRow(current);
    const to = await meanRow(previous);
    return new MeanShift(to.map((value, i) => value - from[i]!));
  }

  align(latents: Tensor): Tensor {
    const { engine } = latents;
    return engine.tidy(() => add(latents, tensor(engine, this.shift, [1, this.latent])));
  }

  toTensors(): Record<string, SafetensorsInput> {
    return { 'control.shift': { dtype: 'F32', shape: [this.latent], data: this.shift } };
  }
}
