import { EliError } from '../../errors.ts';
import type { SafetensorsInput } from '../../files/safetensors.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/**
 * What a gate may look at, for the same n samples. A gate asks for what it needs and says so when it is missing: from
 * latents alone (`current`, `energy`) no network is needed.
 */
export interface GateBatch {
  /** The samples themselves, f32 [n, p]. */
  readonly inputs?: Tensor;
  /** Their latents by the current model, f32 [n, d]. */
  readonly current?: Tensor;
  /** Those after alignment, f32 [n, d]. */
  readonly aligned?: Tensor;
  /** The aligner's energy of the current latents, f32 [n]. */
  readonly energy?: Tensor;
  /** Logits of the old head on the aligned latents, f32 [n, old classes]. */
  readonly oldLogits?: Tensor;
  /** Logits of the new head on the current latents, f32 [n, new classes]. */
  readonly newLogits?: Tensor;
}

/** Current-task data to fit a gate to. Its labels are known when the task is learnt; gates do without them too. */
export interface GateData extends GateBatch {
  /** Class of each sample, from 0. */
  readonly labels?: ArrayLike<number>;
}

/** What a gate is made of, to be saved and made again by `gateFromState`. */
export interface GateState {
  readonly kind: string;
  readonly threshold: number;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, SafetensorsInput>>;
}

/**
 * Decides for each sample, without its label, whether it is of an old task (then its latents are aligned and the old
 * head is asked) or of the current one. A gate is fitted to data of the current task alone, so its threshold is a
 * quantile of what current-task data scores: it fixes the share of current samples taken for old ones.
 */
export abstract class Gate {
  abstract readonly name: string;
  /** The gates that it is made of, where there are any. */
  readonly parts?: readonly Gate[];
  /** Scores above it are "old". NaN until `calibrate` or a load. */
  threshold = Number.NaN;

  /** Learns from current-task data. @throws EliError `ARGUMENT` when the data lacks what the gate needs. */
  abstract fit(data: GateData): Promise<void>;

  /** A score for each sample, [n]: the higher, the more like an old task. @throws EliError `ARGUMENT` */
  abstract score(batch: GateBatch): Promise<Float32Array>;

  /** What the gate is saved as; `fromState` makes it again. */
  abstract state(): GateState;

  /**
   * Puts the threshold at a quantile of the scores of held-out current-task data: with 0.95, a twentieth of the current
   * task's samples are taken for old ones.
   * @throws EliError `ARGUMENT` for a quantile out of 0 … 1
   */
  async calibrate(heldOut: GateBatch, quantile: number): Promise<void> {
    this.threshold = quantileOf(await this.score(heldOut), quantile);
  }

  /** 1 for each sample taken for an old one, [n]. @throws EliError `ARGUMENT` before `calibrate` */
  async decide(batch: GateBatch): Promise<Uint8Array> {
    if (Number.isNaN(this.threshold)) {
      throw new EliError('ARGUMENT', `the gate ${this.name} has no threshold`, {
        hint: 'calibrate it with held-out data of the current task',
      });
    }
    const scores = await this.score(batch);
    return Uint8Array.from(scores, (score) => (score > this.threshold ? 1 : 0));
  }
}

/** A part of the batch. @throws EliError `ARGUMENT` when the gate was not given it */
export function need(gate: string, batch: GateBatch, part: keyof GateBatch): Tensor {
  const found = batch[part];
  if (found === undefined) {
    throw new EliError('ARGUMENT', `the gate ${gate} needs ${part}`, {
      hint: 'give it to the gate, or choose a gate that does without',
    });
  }
  return found;
}

/**
 * The value below which a share q of `values` lies, interpolated linearly between neighbours in order.
 * @throws EliError `ARGUMENT` for no values, or q out of 0 … 1
 */
export function quantileOf(values: ArrayLike<number>, q: number): number {
  if (!(q >= 0 && q <= 1) || values.length === 0) {
    throw new EliError('ARGUMENT', `quantile ${q} of ${values.length} values: it must be from 0 to 1`);
  }
  const sorted = Float64Array.from(values).sort();
  const at = q * (sorted.length - 1);
  const low = sorted[Math.floor(at)]!;
  return low + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - low);
}
