import type { RenderedImage } from '@resvg/resvg-js';
import type { View } from 'vega';
import type { TopLevelSpec } from 'vega-lite';
import { writeFileAtomic } from '../files/atomic.ts';
import { notInstalled } from '../optional.ts';
import { fontFile, textWidth } from './font.ts';
import { THEME } from './theme.ts';

const missing = notInstalled('pictures');

/** A picture as a Vega-Lite specification; `THEME` adds fonts and colours. */
export type PictureSpec = TopLevelSpec;

/** The title and subtitle of a picture. */
export interface Titles {
  title?: string;
  subtitle?: string;
}

/** A quantitative axis of `field` over exactly this domain; `null` hides it. */
export const axisOver = <const Axis>(field: string, domain: [low: number, high: number], axis: Axis) => ({
  field,
  type: 'quantitative' as const,
  scale: { domain, nice: false },
  axis,
});

/** Colours `range` for the values `domain` of `field`, in this order. */
export const colorBy = <Value, const Legend>(
  field: string,
  domain: Value[],
  range: string[],
  legend: Legend,
) => ({ field, type: 'nominal' as const, scale: { domain, range }, legend });

/**
 * A live view of `spec`: change its data or signals and call `viewToSvg` again, as an animation does. Vega, Vega-Lite
 * and resvg take a third of a second to load, so they are imported only when a picture is drawn.
 */
export async function createView(spec: PictureSpec): Promise<View> {
  const [vega, { compile }] = await Promise.all([
    import('vega').catch(missing),
    import('vega-lite').catch(missing),
  ]);
  return new vega.View(vega.parse(compile(spec, { config: THEME }).spec), { renderer: 'none' });
}

/** The part of Vega's text measuring that its types leave out. */
interface TextMetrics {
  width(item: { fontSize?: number; fontWeight?: string | number }, text: unknown): number;
}

/** The SVG text of a view in its current state. The same data gives the same bytes. */
export async function viewToSvg(view: View): Promise<string> {
  const vega = await import('vega').catch(missing);
  // Without a canvas Vega overestimates the width of text. Its hook and its counter of clip paths are global to the
  // process: the hook is replaced for this one synchronous run only, and the counter is reset.
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

/** Draws `spec` and returns SVG text. */
export async function renderSvg(spec: PictureSpec): Promise<string> {
  const view = await createView(spec);
  try {
    return await viewToSvg(view);
  } finally {
    view.finalize();
  }
}

/** Draws SVG text as `pixels` (width × height × 4 bytes, RGBA), `scale` per unit of the SVG; `asPng` encodes them. */
export async function rasterize(svg: string, scale = 2): Promise<RenderedImage> {
  const { renderAsync } = await import('@resvg/resvg-js').catch(missing);
  return renderAsync(svg, {
    fitTo: { mode: 'zoom', value: scale },
    // Without font files no text is drawn; with the machine's fonts the picture depends on the machine.
    font: {
      loadSystemFonts: false,
      fontFiles: [fontFile('normal'), fontFile('bold')],
      defaultFontFamily: 'DejaVu Sans',
    },
  });
}

/** Draws `spec` and writes `<base>.svg` and `<base>.png` (two pixels per unit). */
export async function savePicture(base: string, spec: PictureSpec): Promise<void> {
  const svg = await renderSvg(spec);
  await writeFileAtomic(`${base}.svg`, svg);
  await writeFileAtomic(`${base}.png`, (await rasterize(svg)).asPng());
}
