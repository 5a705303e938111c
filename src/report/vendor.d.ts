// gifenc ships no types.
declare module 'gifenc' {
  type Palette = number[][];

  interface Gifenc {
    GIFEncoder(): {
      writeFrame(
        index: Uint8Array,
        width: number,
        height: number,
        options?: { palette?: Palette; delay?: number; repeat?: number },
      ): void;
      finish(): void;
      bytes(): Uint8Array;
    };
    quantize(rgba: Uint8Array, maxColors: number): Palette;
    applyPalette(rgba: Uint8Array, palette: Palette): Uint8Array;
  }
}
