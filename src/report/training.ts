import { EliError } from '../errors.ts';
import { axisOver, colorBy, type PictureSpec, type Titles } from './picture.ts';
import { COLOR } from './theme.ts';

/** Means over one epoch of training; accuracies in %. */
export interface EpochPoint {
  /** Number of the epoch, from 1. */
  epoch: number;
  trainLoss: number;
  testLoss?: number;
  trainAccuracy?: number;
  testAccuracy?: number;
}

/** Loss and, where known, accuracy by epoch, on the training set and the test set. @throws EliError ARGUMENT without one */
export function trainingSpec(
  points: readonly EpochPoint[],
  { title, subtitle }: Required<Titles>,
): PictureSpec {
  if (points.length === 0) throw new EliError('ARGUMENT', 'A training curve needs at least one epoch');
  const long = (figure: 'Loss' | 'Accuracy') =>
    points.flatMap(({ epoch, ...point }) =>
      (['train', 'test'] as const)
        .map((set) => ({ epoch, set, value: point[`${set}${figure}`] }))
        .filter(({ value }) => value !== undefined),
    );
  const accuracy = long('Accuracy');
  const panel = (values: ReturnType<typeof long>, unit: string, zero: boolean) => ({
    width: 300,
    height: 240,
    data: { values },
    mark: { type: 'line' as const, strokeWidth: 2.5, point: points.length <= 40 ? { size: 30 } : false },
    encoding: {
      x: axisOver('epoch', [1, Math.max(2, points.at(-1)!.epoch)], {
        title: 'epoch',
        grid: false,
        tickMinStep: 1,
        format: 'd',
      }),
      y: {
        field: 'value',
        type: 'quantitative' as const,
        scale: { zero },
        axis: { title: unit, tickCount: 6 },
      },
      color: colorBy('set', ['train', 'test'], [COLOR.blue, COLOR.vermillion], {
        title: null,
        orient: 'top',
      }),
    },
  });
  return {
    title: { text: title, subtitle },
    hconcat: [
      panel(long('Loss'), 'mean loss', true),
      ...(accuracy.length > 0 ? [panel(accuracy, 'accuracy (%)', false)] : []),
    ],
  };
}
