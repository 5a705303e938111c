import type { StateDict } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Latents of the same inputs by the previous and the current model, f32 [n, d] each, row by row. */
export interface LatentPairs {
  readonly previous: Tensor;
  readonly current: Tensor;
}

/** How a fit goes through its iterations. */
export interface FitSchedule {
  /** Iterations between reports; default 1,000. */
  readonly every?: number;
  /**
   * Stops the fit: it is looked at before the first iteration and every 40 ms. After a last report, whose `aligner.state()`
   * keeps what was learnt, the fit rejects with an `AbortError`.
   */
  readonly signal?: AbortSignal | undefined;
  /** Sample indices of all mini-batches in turn, u32 [iterations · batch], instead of shuffled epochs. */
  readonly order?: Uint32Array;
}

/** Everything a fit needs to resume bit for bit. */
export interface AlignerState {
  readonly iteration: number;
  /** Losses since the last report. */
  readonly losses: Float32Array<ArrayBuffer>;
  readonly model: StateDict;
  readonly average: StateDict;
  readonly squares: StateDict;
  /** The map to the starts of the chains; empty where they start at the latents as they are. */
  readonly start: StateDict;
}
