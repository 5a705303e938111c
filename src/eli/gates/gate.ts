import { EliError } from '../../errors.ts';
import type { StateDict } from '../../nn/module.ts';
import { quantileOf } from '../../report/stats.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/**
 * What a gate may look at, all for the same n samples. A gate throws when what it needs is missing; one that needs only
 * latents (`current`) or `energy` works without a network.
 */
export interface GateBatch {
  /** The samples themselves, f32 [n, p]. */
  readonly inputs?: Tensor;
  /** Their latents by the current model, f32 [n, d]. */
  readonly current?: Tensor;
  /** The same latents aligned, f32 [n, d]. */
  readonly aligned?: Tensor;
  /** The aligner's energy of the current latents, f32 [n]. */
  readonly energy?: Tensor;
  /** Logits of the old head on the aligned latents, f32 [n, old classes]. */
  readonly oldLogits?: Tensor;
  /** Logits of the new head on the current latents, f32 [n, new classes]. */
  readonly newLogits?: Tensor;
}

/** Current-task data to fit a gate to. Labels are known when the task is learnt, but gates also work without them. */
export interface GateData extends GateBatch {
  /** Class of each sample, from 0. */
  readonly labels?: ArrayLike<number>;
}

/** What a gate is saved as, besides its threshold and its parts; the `fromState` of its class restores it. */
export interface GateState {
  readonly kind: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly tensors: StateDict;
}

/**
 * Decides for each sample, without its label, whether it belongs to an old task (its latents are then aligned and the
 * old head answers) or to the current one. A gate is fitted to data of the current task alone, so its threshold is a
 * quantile of the scores of current-task data: it fixes the share of current samples that are taken for old ones.
 */
export abstract class Gate {
  abstract readonly name: string;
  /** The gates that it combines, if any. */
  readonly parts?: readonly Gate[];
  /** Scores above it are "old". NaN until the gate is calibrated or loaded. */
  threshold = Number.NaN;

  /** Learns from current-task data. @throws EliError `ARGUMENT` when the data lacks what the gate needs. */
  abstract fit(data: GateData): Promise<void>;

  /** A score for each sample, [n]: the higher, the more like an old task. @throws EliError `ARGUMENT` before `fit` */
  abstract score(batch: GateBatch): Promise<Float32Array>;

  /** What the gate is saved as. @throws EliError `ARGUMENT` before `fit` */
  abstract state(): GateState;

  /**
   * Sets the threshold to a quantile of the scores of held-out current-task data: with 0.95, 5 % of the current task's
   * samples are taken for old ones.
   * @throws EliError `ARGUMENT` for a quantile outside 0 … 1
   */
  async calibrate(heldOut: GateBatch, quantile: number): Promise<void> {
    this.threshold = quantileOf(await this.score(heldOut), quantile);
  }

  /** 1 for each sample that is taken for an old one, else 0, [n]. @throws EliError `ARGUMENT` before `calibrate` */
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

/** A part of the batch. @throws EliError `ARGUMENT` when it is missing */
export function need(gate: string, batch: GateBatch, part: keyof GateBatch): Tensor {
  const found = batch[part];
  if (found !== undefined) return found;
  throw new EliError('ARGUMENT', `the gate ${gate} needs ${part}`, {
    hint: 'add it to the batch, or choose a gate that works without it',
  });
}

/** A value that fitting (or what `done` says) or loading a gate sets. @throws EliError `ARGUMENT` when it is missing */
export function fitted<T>(gate: string, value: T | undefined, done = 'fitted'): T {
  if (value !== undefined) return value;
  throw new EliError('ARGUMENT', `the gate ${gate} is not ${done}`, {
    hint: 'fit and calibrate it first, or load one',
  });
}
