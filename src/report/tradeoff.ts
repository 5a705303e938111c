import { EliError } from '../errors.ts';
import { axisOver, colorBy, type PictureSpec } from './picture.ts';
import { COLOR } from './theme.ts';

const SIDE = 300;
/** Upper end of both axes: above 100 %, which leaves room for a mark at 100 % and its label. */
const TOP = 108;
const TICKS = [0, 20, 40, 60, 80, 100];

/** Accuracies without labels in %, on the old task's samples and on the current task's. */
export interface TradeoffPoint {
  readonly old: number;
  readonly new: number;
}

/** The points of a gate as its threshold moves, and the point of the threshold chosen. */
export interface TradeoffCurve {
  readonly name: string;
  readonly points: readonly TradeoffPoint[];
  readonly chosen: TradeoffPoint;
}

/** One way of aligning: its gates as curves, policies without a gate as marks. */
export interface TradeoffPanel {
  readonly title: string;
  readonly curves: readonly TradeoffCurve[];
  readonly marks: readonly (TradeoffPoint & { readonly name: string })[];
}

const COLORS: readonly string[] = [COLOR.vermillion, COLOR.blue, COLOR.green, COLOR.purple];
const POINT = { type: 'point', opacity: 1, strokeWidth: 1.5 } as const;

/**
 * What each way of deciding on alignment costs the current task and gives the old one: accuracy without labels on the
 * old task's test samples against that on the current task's, a panel for each way of aligning. A line is a gate as
 * its threshold moves, a filled circle the threshold chosen from current-task data alone.
 *
 * @param subtitle its lines
 * @throws EliError ARGUMENT without a panel, or for a panel with neither curves nor marks
 */
export function tradeoffSpec(panels: readonly TradeoffPanel[], subtitle: string[] = []): PictureSpec {
  if (panels.length === 0 || panels.some((panel) => panel.curves.length + panel.marks.length === 0)) {
    throw new EliError('ARGUMENT', 'A trade-off needs at least one panel, and each panel a curve or a mark');
  }
  const gates = [...new Set(panels.flatMap((panel) => panel.curves.map((curve) => curve.name)))];
  const colors = gates.map((_, i) => COLORS[i % COLORS.length]!);
  const color = colorBy('name', gates, colors, {
    title: 'aligned where this gate says old',
    titleLimit: 0,
    orient: 'bottom',
    columns: 2,
    symbolType: 'stroke',
    symbolStrokeWidth: 2.5,
    symbolOpacity: 1,
  });
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

const axis = (field: string, task: string) =>
  axisOver(field, [0, TOP], { title: `${task} task, accuracy without labels (%)`, values: TICKS });
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

/** Keeps a mark's label off the lines: above it on the right half, where they bend, else below it. */
function labelPlace(mark: TradeoffPoint): { align: 'left' | 'right'; dx: number; dy: number } {
  return mark.new > TOP / 2
    ? { align: 'right', dx: 8, dy: -13 }
    : { align: 'left', dx: mark.new < 5 ? 6 : -4, dy: 17 };
}
