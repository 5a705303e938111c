import type { CurvePoint } from './checkpoint.ts';

/** Test accuracies in % of one seed; the same numbers for the same seed on the same adapter. */
export interface MnistMetrics {
  readonly seed: number;
  readonly latent: number;
  /** Task 1 after task 1. */
  readonly task1: number;
  /** Task 2 after task 2. */
  readonly task2: number;
  /** Task 1 after task 2, with head 1 as it has drifted, and as it was saved after task 1. */
  readonly unaligned: number;
  readonly unalignedSavedHead: number;
  /** The same on aligned latents. */
  readonly aligned: number;
  readonly alignedSavedHead: number;
  /** Task 2 when its latents are aligned too. */
  readonly task2Aligned: number;
  /** Task 1 with the saved head after each stretch of aligner iterations. */
  readonly curve: readonly CurvePoint[];
}
