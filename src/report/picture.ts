import type { View } from 'vega';
import type { TopLevelSpec } from 'vega-lite';
import { writeFileAtomic } from '../files/atomic.ts';
import { FONT_FILES, textWidth } from './font.ts';
import { THEME } from './theme.ts';

/** A Vega-Lite description of a picture, without look: `THEME` gives that. */
export type PictureSpec = TopLevelSpec;

/** What stands above a picture. */
export interface Titles {
  title?: string;
  subtitle?: string;
}

/** A quantitative axis of `field` over exactly this domain. */
export const axisOver = <const Axis>(field: string, domain: [low: number, high: number], axis: Axis) => ({
  field,
  type: 'quantitative' as const,
  scale: { domain, nice: false },
  axis,
});

// Vega, Vega-Lite and resvg take a third of a second to load: a command that draws nothing must not wait for them.
const loadVega = () => import('vega');
const loadVegaLite = () => import('vega-lite');
const loadResvg = () => import('@resvg/resvg-js');

/** A live view of `spec`: change its data or signals and call `viewToSvg` again, as an animation does. */
export async function createView(spec: PictureSpec): Promise<View> {
  const [vega, { compile }] = await Promise.all([loadVega(), loadVegaLite()]);
  return new vega.View(vega.parse(compile(spec, { config: THEME }).spec), { renderer: 'none' });
}

/** The SVG text of a view as it now is. The same data gives the same bytes. */
export async function viewToSvg(view: View): Promise<string> {
  const vega = await loadVega();
  // Without a canvas Vega guesses the width of text, far too wide. The hook is Vega's own, but it and the counter of
  // clip paths belong to the whole process: set for this one synchronous run, and put back.
  const { textMetrics } = vega as unknown as { textMetrics: TextMetrics };
  const guess = textMetrics.width;
  textMetrics.width = ({ fontSize, fontWeight }, text) =>
    textWidth(String(text ?? ''), fontSize ?? 11, fontWeight === 'bold' ? 'bold' : 'normal');
  try {
    view.run();
  } finally {
    textMetrics.width = guess;
  }
  vega.resetSVGDefIds();
  return view.toSVG();
}

/** The part of Vega's text measuring that its types leave out. */
interface TextMetrics {
  width(item: { fontSize?: number; fontWeight?: string | number }, text: unknown): number;
}

/** Draws `spec` and returns SVG text. */
export async function renderSvg(spec: PictureSpec): Promise<string> {
  const view = await createView(spec);
  try {
    return await viewToSvg(view);
  } finally {
    view.finalize();
  }
}

/** An SVG drawn as pixels. `rgba` holds width × height × 4 bytes. */
export interface Pixels {
  rgba: Uint8Array;
  width: number;
  height: number;
  /** The same pixels as a PNG file. */
  toPng(): Uint8Array;
}

/** Draws SVG text as pixels, `scale` per unit of the SVG, with the package's own fonts only. */
export async function rasterize(svg: string, { scale = 2 }: { scale?: number } = {}): Promise<Pixels> {
  const { renderAsync } = await loadResvg();
  const image = await renderAsync(svg, {
    fitTo: { mode: 'zoom', value: scale },
    // Without font files no text is drawn; with the machine's fonts the picture depends on the machine.
    font: { loadSystemFonts: false, fontFiles: Object.values(FONT_FILES), defaultFontFamily: 'DejaVu Sans' },
  });
  return { rgba: image.pixels, width: image.width, height: image.height, toPng: () => image.asPng() };
}

/** Draws `spec` and writes `<base>.svg` and `<base>.png` (two pixels per unit); returns both paths. */
export async function savePicture(base: string, spec: PictureSpec): Promise<{ svg: string; png: string }> {
  const text = await renderSvg(spec);
  const files = { svg: `${base}.svg`, png: `${base}.png` };
  await writeFileAtomic(files.svg, text);
  await writeFileAtomic(files.png, (await rasterize(text)).toPng());
  return files;
}
