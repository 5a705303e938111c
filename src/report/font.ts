import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { notInstalled } from '../optional.ts';

/** The two fonts of all pictures. */
const FONTS = { normal: 'DejaVuSans.ttf', bold: 'DejaVuSans-Bold.ttf' } as const;

export type FontWeight = keyof typeof FONTS;

/** The path of a font's file in the package dejavu-fonts-ttf. @throws EliError NOT_INSTALLED */
export function fontFile(weight: FontWeight): string {
  try {
    return createRequire(import.meta.url).resolve(`dejavu-fonts-ttf/ttf/${FONTS[weight]}`);
  } catch (cause) {
    return notInstalled('pictures')(cause);
  }
}

/** Advance of a character (a UTF-16 code unit) in ems, by font. */
const fonts: Partial<Record<FontWeight, (code: number) => number>> = {};

/** Width of one line of text in the pictures' font, in the unit of `fontSize`, without kerning. */
export function textWidth(text: string, fontSize: number, weight: FontWeight = 'normal'): number {
  fonts[weight] ??= readAdvances(readFileSync(fontFile(weight)));
  let ems = 0;
  for (let i = 0; i < text.length; i++) ems += fonts[weight](text.charCodeAt(i));
  return ems * fontSize;
}

/** Reads the tables of a TrueType file that give widths: `head`, `hhea`, `hmtx`, and format 4 of `cmap`. */
function readAdvances(file: Buffer): (code: number) => number {
  const table = (name: string): number => {
    for (let entry = 12; ; entry += 16) {
      if (file.toString('latin1', entry, entry + 4) === name) return file.readUInt32BE(entry + 8);
    }
  };
  const unitsPerEm = file.readUInt16BE(table('head') + 18);
  const metrics = file.readUInt16BE(table('hhea') + 34);
  const hmtx = table('hmtx');
  const cmap = table('cmap');
  let sub = 0;
  for (let entry = cmap + 4; file.readUInt16BE(sub) !== 4; entry += 8)
    sub = cmap + file.readUInt32BE(entry + 4);

  // Four parallel arrays of `segments` 16-bit numbers: last code, first code, delta, offset into glyph ids.
  const size = file.readUInt16BE(sub + 6);
  const last = sub + 14;
  const first = last + size + 2;
  const glyph = (code: number): number => {
    let at = 0;
    while (file.readUInt16BE(last + at) < code) at += 2;
    const start = file.readUInt16BE(first + at);
    if (start > code) return 0;
    const delta = file.readUInt16BE(first + size + at);
    const where = first + 2 * size + at;
    const offset = file.readUInt16BE(where);
    const id = offset === 0 ? code : file.readUInt16BE(where + offset + 2 * (code - start));
    return (id + delta) & 0xffff;
  };
  return (code) => file.readUInt16BE(hmtx + 4 * Math.min(glyph(code), metrics - 1)) / unitsPerEm;
}
