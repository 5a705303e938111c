import type { MnistMetrics } from './metrics.ts';

/**
 * Figures to compare with, test accuracy in %. `published`: Joseph et al., CVPR 2022, section 3.3. `mean`, `std`, `min`,
 * `max`: the original protocol run with PyTorch 1.13 over 12 seeds.
 */
export interface ReferenceRow {
  readonly key: keyof MnistMetrics & ('task1' | 'task2' | 'unaligned' | 'aligned' | 'task2Aligned');
  readonly name: string;
  readonly published?: number;
  readonly mean: number;
  readonly std: number;
  readonly min: number;
  readonly max: number;
}

const NAMES = {
  task1: 'task 1 after task 1',
  task2: 'task 2',
  unaligned: 'task 1 after task 2, unaligned',
  aligned: 'task 1, aligned by ELI',
  task2Aligned: 'task 2 when it is aligned too',
} as const;

function row(
  key: ReferenceRow['key'],
  published: number | undefined,
  mean: number,
  std: number,
  min: number,
  max: number,
): ReferenceRow {
  return { key, name: NAMES[key], ...(published === undefined ? {} : { published }), mean, std, min, max };
}

/** By latent size. */
export const MNIST_REFERENCE: Readonly<Record<number, readonly ReferenceRow[]>> = {
  32: [
    row('task1', 99.16, 99.19, 0.11, 99.0, 99.35),
    row('task2', 95.35, 96.08, 0.42, 95.19, 96.65),
    row('unaligned', 20.88, 41.9, 12.6, 22.2, 64.5),
    row('aligned', 83.44, 80.4, 7.7, 68.5, 91.7),
    row('task2Aligned', undefined, 38.6, 8.9, 26.0, 54.7),
  ],
  512: [
    row('task1', 99.54, 99.51, 0.03, 99.47, 99.56),
    row('task2', 96.83, 96.73, 0.1, 96.52, 96.89),
    row('unaligned', 89.14, 85.3, 12.2, 61.8, 96.6),
    row('aligned', 99.05, 98.99, 0.19, 98.51, 99.18),
    row('task2Aligned', undefined, 40.2, 3.0, 35.2, 44.1),
  ],
};

/** The rows for a latent size; without figures of their own other sizes get the names alone. */
export function referenceRows(
  latent: number,
): readonly (Pick<ReferenceRow, 'key' | 'name'> & Partial<ReferenceRow>)[] {
  return (
    MNIST_REFERENCE[latent] ??
    Object.entries(NAMES).map(([key, name]) => ({ key: key as ReferenceRow['key'], name }))
  );
}
