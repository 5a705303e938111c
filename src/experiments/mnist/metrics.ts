import type { MeanStd } from '../../report/stats.ts';
import type { CurvePoint } from './checkpoint.ts';

/** Test accuracies in % of one seed; the same numbers for the same seed on the same adapter. */
export interface MnistMetrics {
  readonly seed: number;
  readonly latent: number;
  /** Task 1 after task 1. */
  readonly task1: number;
  /** Task 2 after task 2. */
  readonly task2: number;
  /** Task 1 after task 2, with the drifted head 1, and with head 1 as saved after task 1. */
  readonly unaligned: number;
  readonly unalignedSavedHead: number;
  /** The same on aligned latents. */
  readonly aligned: number;
  readonly alignedSavedHead: number;
  /** Task 2 when its latents are aligned too. */
  readonly task2Aligned: number;
  /** Task 1 with the saved head, every `curveEvery` aligner iterations. */
  readonly curve: readonly CurvePoint[];
}

/** Metrics in the order of the table, and their names there. */
export const METRIC_NAMES = {
  task1: 'task 1 after task 1',
  task2: 'task 2',
  unaligned: 'task 1 after task 2, unaligned',
  aligned: 'task 1, aligned by ELI',
  task2Aligned: 'task 2 when it is aligned too',
} as const;

/** Figures to compare a metric with, test accuracy in %. */
interface Comparison {
  /** Joseph et al., CVPR 2022, section 3.3. */
  readonly published?: number;
  /** The original protocol run with PyTorch 1.13 over 12 seeds. */
  readonly reference: Omit<MeanStd, 'n'>;
}

function figures(mean: number, std: number, min: number, max: number, published?: number): Comparison {
  return { reference: { mean, std, min, max }, ...(published === undefined ? {} : { published }) };
}

/** Figures by latent size, if there are any. */
export const COMPARISONS: Readonly<Record<number, Readonly<Record<keyof typeof METRIC_NAMES, Comparison>>>> =
  {
    32: {
      task1: figures(99.19, 0.11, 99.0, 99.35, 99.16),
      task2: figures(96.08, 0.42, 95.19, 96.65, 95.35),
      unaligned: figures(41.9, 12.6, 22.2, 64.5, 20.88),
      aligned: figures(80.4, 7.7, 68.5, 91.7, 83.44),
      task2Aligned: figures(38.6, 8.9, 26.0, 54.7),
    },
    512: {
      task1: figures(99.51, 0.03, 99.47, 99.56, 99.54),
      task2: figures(96.73, 0.1, 96.52, 96.89, 96.83),
      unaligned: figures(85.3, 12.2, 61.8, 96.6, 89.14),
      aligned: figures(98.99, 0.19, 98.51, 99.18, 99.05),
      task2Aligned: figures(40.2, 3.0, 35.2, 44.1),
    },
  };
