import { EliError } from '../errors.ts';
import { axisOver, type PictureSpec, type Titles } from './picture.ts';
import { COLOR } from './theme.ts';

/** Means of one epoch of training; accuracies in %. */
export interface EpochPoint {
  /** Epochs done, from 1. */
  epoch: number;
  trainLoss: number;
  testLoss?: number;
  trainAccuracy?: number;
  testAccuracy?: number;
}

const SETS = { train: COLOR.blue, test: COLOR.vermillion } as const;

/**
 * Loss, and accuracy where it is known, by epoch: training set beside test set.
 *
 * @throws EliError ARGUMENT without an epoch
 */
export function trainingSpec(
  points: readonly EpochPoint[],
  { title, subtitle }: Required<Titles>,
): PictureSpec {
  if (points.length === 0) throw new EliError('ARGUMENT', 'A training curve needs at least one epoch');
  const long = (train: keyof EpochPoint, test: keyof EpochPoint) =>
    points.flatMap((point) =>
      (Object.entries({ train: point[train], test: point[test] }) as [string, number | undefined][])
        .filter(([, value]) => value !== undefined)
        .map(([set, value]) => ({ epoch: point.epoch, set, value })),
    );
  const loss = long('trainLoss', 'testLoss');
  const accuracy = long('trainAccuracy', 'testAccuracy');
  const panel = (values: ReturnType<typeof long>, unit: string, zero: boolean) => ({
    width: 300,
    height: 240,
    data: { values },
    mark: { type: 'line' as const, strokeWidth: 2.5, point: points.length <= 40 ? { size: 30 } : false },
    encoding: {
      x: axisOver('epoch', [1, Math.max(2, points[points.length - 1]!.epoch)], {
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
      color: {
        field: 'set',
        type: 'nominal' as const,
        scale: { domain: Object.keys(SETS), range: Object.values(SETS) },
        legend: { title: null, orient: 'top' as const },
      },
    },
  });
  return {
    title: { text: title, subtitle },
    hconcat: [
      panel(loss, 'mean loss', true),
      ...(accuracy.length > 0 ? [panel(accuracy, 'accuracy (%)', false)] : []),
    ],
  };
}
