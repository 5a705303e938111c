import { EliError } from '../errors.ts';
import type { PictureSpec } from './picture.ts';
import { COLOR } from './theme.ts';

const SIDE = 300;
/** Upper end of both axes: above 100 %, so that a mark there and its label stand free. */
const TOP = 108;

/** Accuracies without labels in %, of the old task's samples and of the current one's. */
export interface TradeoffPoint {
  readonly old: number;
  readonly new: number;
}

/** A gate as its threshold moves, and where its threshold was put. */
export interface TradeoffCurve {
  readonly name: string;
  readonly points: readonly TradeoffPoint[];
  readonly chosen: TradeoffPoint;
}

/** One way of aligning: its gates as lines, what does without a gate as marks. */
export interface TradeoffPanel {
  readonly title: string;
  readonly curves: readonly TradeoffCurve[];
  readonly marks: readonly (TradeoffPoint & { readonly name: string })[];
}

const COLORS: readonly string[] = [COLOR.vermillion, COLOR.blue, COLOR.green, COLOR.purple];
const POINT = { type: 'point', opacity: 1, strokeWidth: 1.5 } as const;

/**
 * What each way of deciding on alignment costs the current task and gives the old one: accuracy without labels on the
 * old task's test samples against that on the current task's, a panel for each way of aligning. Lines are gates as
 * their threshold moves, the filled circle is where it was put from current-task data alone. A line of text each in
 * `subtitle`.
 *
 * @throws EliError ARGUMENT without a panel, or a panel without anything in it
 */
export function tradeoffSpec(panels: readonly TradeoffPanel[], subtitle: string[] = []): PictureSpec {
  if (panels.length === 0 || panels.some((panel) => panel.curves.length + panel.marks.length === 0)) {
    throw new EliError('ARGUMENT', 'A trade-off needs at least one panel, and each panel a curve or a mark');
  }
  const gates = [...new Set(panels.flatMap((panel) => panel.curves.map((curve) => curve.name)))];
  const color = {
    field: 'name',
    type: 'nominal' as const,
    scale: { domain: gates, range: gates.map((_, i) => COLORS[i % COLORS.length]!) },
    legend: {
      title: 'aligned where this gate says old',
      titleLimit: 0,
      orient: 'bottom' as const,
      columns: 2,
      symbolType: 'stroke',
      symbolStrokeWidth: 2.5,
      symbolOpacity: 1,
    },
  };
  return {
    title: { text: 'Deciding without labels which samples to align', subtitle },
    spacing: 44,
    resolve: { scale: { color: 'shared' } },
    hconcat: panels.map((panel) => ({
      title: { text: panel.title, fontSize: 13, frame: 'group' as const, offset: 8 },
      width: SIDE,
      height: SIDE,
      layer: [...curveLayers(panel.curves, color), ...markLayers(panel.marks)],
    })),
  };
}

const axis = (field: string, task: string) => ({
  field,
  type: 'quantitative' as const,
  scale: { domain: [0, TOP], nice: false },
  axis: { title: `${task} task, accuracy without labels (%)`, values: [0, 20, 40, 60, 80, 100] },
});
const PLACE = { x: axis('new', 'current'), y: axis('old', 'old') };

function curveLayers<Color extends object>(curves: readonly TradeoffCurve[], color: Color) {
  const line = curves.flatMap(({ name, points }) =>
    points.map((point, order) => ({ ...point, name, order })),
  );
  return [
    {
      data: { values: line },
      mark: { type: 'line' as const, strokeWidth: 2.5, interpolate: 'linear' as const },
      encoding: { ...PLACE, color, order: { field: 'order', type: 'quantitative' as const } },
    },
    {
      data: { values: curves.map(({ name, chosen }) => ({ ...chosen, name })) },
      mark: { ...POINT, filled: true, size: 110, stroke: 'white' },
      encoding: { ...PLACE, color },
    },
  ];
}

function markLayers(marks: TradeoffPanel['marks']) {
  return [
    {
      data: { values: [...marks] },
      mark: { ...POINT, shape: 'diamond', size: 100, stroke: COLOR.ink, fill: 'white' },
      encoding: PLACE,
    },
    ...marks.map((mark) => ({
      data: { values: [mark] },
      mark: { type: 'text' as const, fontSize: 11, color: COLOR.ink, ...labelPlace(mark) },
      encoding: { ...PLACE, text: { field: 'name' } },
    })),
  ];
}

/** Where a mark's label stands free: above it near the upper right corner, where the lines bend, else below it. */
function labelPlace(mark: TradeoffPoint): { align: 'left' | 'right'; dx: number; dy: number } {
  return mark.new > TOP / 2
    ? { align: 'right', dx: 8, dy: -13 }
    : { align: 'left', dx: mark.new < 5 ? 6 : -4, dy: 17 };
}
