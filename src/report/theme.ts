import type { Config } from 'vega-lite';

/** Verdana has DejaVu's proportions, so an SVG keeps its layout where DejaVu is not installed. */
const FONT = 'DejaVu Sans, Verdana, sans-serif';

/** Okabe and Ito's colours, which colour-blind readers can tell apart, and the greys of the theme. */
export const COLOR = {
  blue: '#0072B2',
  orange: '#E69F00',
  green: '#009E73',
  vermillion: '#D55E00',
  purple: '#CC79A7',
  sky: '#56B4E9',
  ink: '#222222',
  text: '#5A5A5A',
  rule: '#B5B5B5',
  grid: '#EAEAEA',
} as const;

/** Colours for classes, in the order of the labels. */
export const CLASS_COLORS: readonly string[] = [
  COLOR.blue,
  COLOR.orange,
  COLOR.green,
  COLOR.purple,
  COLOR.vermillion,
  COLOR.sky,
  '#332288',
  '#999933',
  '#882255',
  '#666666',
];

/** The colour of each model, the same in all pictures. */
export const MODEL_COLORS = { previous: COLOR.blue, current: '#7A7A7A', aligned: COLOR.vermillion } as const;

/** The style of all pictures: white, few lines, a left-aligned title and a less prominent subtitle. */
export const THEME: Config = {
  font: FONT,
  background: '#FFFFFF',
  padding: { left: 16, right: 20, top: 14, bottom: 14 },
  title: {
    anchor: 'start',
    frame: 'bounds',
    fontSize: 16,
    fontWeight: 'bold',
    color: COLOR.ink,
    subtitleFontSize: 12,
    subtitleColor: COLOR.text,
    subtitlePadding: 6,
    subtitleLineHeight: 16,
    offset: 16,
  },
  view: { stroke: null },
  axis: {
    domainColor: COLOR.rule,
    tickColor: COLOR.rule,
    tickSize: 4,
    gridColor: COLOR.grid,
    labelColor: COLOR.text,
    labelFontSize: 11,
    labelPadding: 4,
    labelLimit: 0,
    titleColor: COLOR.ink,
    titleFontSize: 12,
    titleFontWeight: 'normal',
    titlePadding: 10,
  },
  legend: {
    labelColor: COLOR.ink,
    labelFontSize: 12,
    labelLimit: 0,
    titleColor: COLOR.ink,
    titleFontSize: 12,
    titleFontWeight: 'normal',
  },
  header: { labelFontSize: 13, labelColor: COLOR.ink, labelFontWeight: 'bold' },
};
