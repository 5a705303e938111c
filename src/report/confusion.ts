import { EliError } from '../errors.ts';
import type { PictureSpec, Titles } from './picture.ts';
import { COLOR } from './theme.ts';

/** Most classes whose names and counts are drawn. */
const NAMED = 20;

/**
 * A confusion matrix as a heat map, each row normalised by the size of its class.
 *
 * @param counts [classes, classes]: samples of the row's class that were classified as the column's
 * @throws EliError ARGUMENT when it is empty or not square, or has another number of names
 */
export function confusionSpec(
  counts: readonly (readonly number[])[],
  { names: given, title, subtitle }: Required<Titles> & { names?: readonly string[] },
): PictureSpec {
  const n = counts.length;
  if (n === 0 || counts.some((row) => row.length !== n)) {
    throw new EliError('ARGUMENT', `A confusion matrix is square; this one has ${n} rows`);
  }
  const names = given ?? counts.map((_, i) => String(i));
  if (names.length !== n) throw new EliError('ARGUMENT', `${names.length} names for ${n} classes`);
  const small = n <= NAMED;
  const labelAngle = names.some((name) => name.length > 4) ? -45 : 0;
  const cell = small ? 34 : Math.max(3, Math.floor(520 / n));
  const values = counts.flatMap((row, truth) => {
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((count, predicted) => ({
      truth,
      predicted,
      count,
      // A class may have no samples.
      share: total === 0 ? 0 : (100 * count) / total,
      truthName: names[truth],
      predictedName: names[predicted],
    }));
  });
  const axis = (name: 'truth' | 'predicted', title: string, look: { labelAngle?: number }) => ({
    field: small ? `${name}Name` : name,
    type: 'ordinal' as const,
    sort: { field: name },
    axis: { title, ticks: false, domain: false, ...(small ? look : { labels: false }) },
  });
  const encoding = { x: axis('predicted', 'taken for', { labelAngle }), y: axis('truth', 'class', {}) };
  return {
    title: { text: title, subtitle },
    width: cell * n,
    height: cell * n,
    data: { values },
    layer: [
      {
        mark: { type: 'rect' },
        encoding: {
          ...encoding,
          color: {
            field: 'share',
            type: 'quantitative',
            // The root keeps rare mistakes visible.
            scale: { type: 'sqrt', interpolate: 'rgb', range: ['#FFFFFF', COLOR.blue], domain: [0, 100] },
            legend: { title: '% of the class' },
          },
        },
      },
      ...(small
        ? [
            {
              transform: [{ filter: 'datum.count > 0' }],
              mark: { type: 'text' as const, fontSize: 10 },
              encoding: {
                ...encoding,
                text: { field: 'count', type: 'quantitative' as const },
                color: { condition: { test: 'datum.share > 50', value: '#FFFFFF' }, value: COLOR.text },
              },
            },
          ]
        : []),
    ],
  };
}
