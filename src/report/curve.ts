import { EliError } from '../errors.ts';
import { axisOver, type PictureSpec } from './picture.ts';
import { mean } from './stats.ts';
import { MODEL_COLORS } from './theme.ts';

const WIDTH = 540;
const HEIGHT = 320;
/** Upper end of the accuracy axis: a little above 100 %, so that a rule at 99.9 % does not touch the edge. */
const TOP = 101;
/** Height of a two-line label, including the gap to the next. */
const LABEL_HEIGHT = 36;

interface CurvePoint {
  iteration: number;
  accuracy: number;
}

/** The curve of one run; accuracies in %. */
export interface SeedCurve {
  seed: number;
  points: readonly CurvePoint[];
  /** Task-1 accuracy right after task 1. */
  afterTask1: number;
  /** Task-1 accuracy after task 2, before any alignment. */
  unaligned: number;
}

/**
 * Task-1 accuracy after alignment against aligner iterations. One seed is drawn as a line with its points; several
 * as thin lines, with their mean in bold where every seed has a point. Two horizontal rules mark the accuracy after
 * task 1 and after task 2, averaged over the seeds.
 *
 * @throws EliError ARGUMENT without a seed or without a point
 */
export function curveSpec(
  runs: readonly SeedCurve[],
  subtitle = runs.length === 1 ? `seed ${runs[0]!.seed}` : `${runs.length} seeds (thin) and their mean`,
): PictureSpec {
  if (runs.length === 0 || runs.some((run) => run.points.length === 0)) {
    throw new EliError(
      'ARGUMENT',
      'An accuracy curve needs at least one seed, and each seed at least one point',
    );
  }
  const curve = meanCurve(runs);
  const end = curve.at(-1)!;
  const lowest = Math.min(...runs.flatMap((run) => [run.unaligned, ...run.points.map((p) => p.accuracy)]));
  const bottom = Math.max(0, Math.floor((lowest - 4) / 10) * 10);
  const after = mean(runs.map((run) => run.afterTask1));
  const before = mean(runs.map((run) => run.unaligned));
  const labels = spread(
    [
      { name: 'after task 1', accuracy: after, color: MODEL_COLORS.previous },
      { name: 'aligned', accuracy: end.accuracy, color: MODEL_COLORS.aligned },
      { name: 'after task 2, unaligned', accuracy: before, color: MODEL_COLORS.current },
    ],
    bottom,
  );
  const y = (field: string) =>
    axisOver(field, [bottom, TOP], { title: 'test accuracy on task 1 (%)', tickCount: 6 });
  const color = { field: 'color', type: 'nominal' as const, scale: null };
  return {
    title: { text: 'Accuracy on the first task while the aligner learns', subtitle },
    width: WIDTH,
    height: HEIGHT,
    layer: [
      {
        data: { values: labels.filter((label) => label.name !== 'aligned') },
        mark: { type: 'rule', strokeDash: [6, 4], strokeWidth: 1.5 },
        encoding: { x: { value: 0 }, x2: { value: WIDTH }, y: y('accuracy'), color },
      },
      ...lineLayers(runs, curve, y('accuracy')),
      {
        data: { values: labels },
        mark: {
          type: 'text',
          align: 'left',
          baseline: 'middle',
          fontSize: 12,
          lineBreak: '\n',
          lineHeight: 15,
        },
        encoding: { x: { value: WIDTH + 12 }, y: y('place'), text: { field: 'text' }, color },
      },
    ],
  };
}

/** A thin line for each of several seeds, their mean in bold, and a point at its end. */
function lineLayers<Axis extends object>(runs: readonly SeedCurve[], curve: CurvePoint[], y: Axis) {
  const iterations = runs.flatMap((run) => run.points.map((point) => point.iteration));
  const x = axisOver('iteration', [0, Math.max(1, ...iterations)], {
    title: 'aligner iterations',
    grid: false,
    format: ',d',
    tickCount: 9,
    tickMinStep: 1,
    labelFlush: false,
  });
  const color = MODEL_COLORS.aligned;
  const single = runs.length === 1;
  const thin = {
    data: { values: runs.flatMap((run) => run.points.map((point) => ({ ...point, seed: run.seed }))) },
    mark: { type: 'line' as const, strokeWidth: 1, opacity: 0.35, color },
    encoding: { x, y, detail: { field: 'seed', type: 'nominal' as const } },
  };
  return [
    ...(single ? [] : [thin]),
    {
      data: { values: curve },
      mark: { type: 'line' as const, strokeWidth: 2.5, color, point: single ? { color, size: 36 } : false },
      encoding: { x, y },
    },
    {
      data: { values: curve.slice(-1) },
      mark: { type: 'point' as const, filled: true, size: 70, opacity: 1, color },
      encoding: { x, y },
    },
  ];
}

/** Places each two-line label near its accuracy on the axis so that none covers another. */
function spread<Label extends { name: string; accuracy: number }>(labels: readonly Label[], bottom: number) {
  const gap = (LABEL_HEIGHT * (TOP - bottom)) / HEIGHT;
  const placed = labels
    .map((label) => ({
      ...label,
      text: `${label.name}\n${label.accuracy.toFixed(1)} %`,
      place: label.accuracy,
    }))
    .sort((a, b) => b.accuracy - a.accuracy);
  for (let i = 1; i < placed.length; i++) {
    placed[i].place = Math.min(placed[i].place, placed[i - 1].place - gap);
  }
  const low = bottom + gap / 2;
  for (let i = placed.length - 1, floor = low; i >= 0; i--, floor += gap) {
    placed[i].place = Math.max(placed[i].place, floor);
  }
  return placed;
}

/** The mean at each iteration at which every seed has a point. */
function meanCurve(runs: readonly SeedCurve[]): CurvePoint[] {
  const points = runs.flatMap((run) => run.points);
  const iterations = [...new Set(points.map(({ iteration }) => iteration))].sort((a, b) => a - b);
  return iterations
    .map((iteration) => points.filter((point) => point.iteration === iteration))
    .filter((found) => found.length === runs.length)
    .map((found) => ({ iteration: found[0]!.iteration, accuracy: mean(found.map((p) => p.accuracy)) }));
}
