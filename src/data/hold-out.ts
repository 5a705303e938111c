/** Splits rows 0 … count − 1 in order: rows 0, `every`, 2 · `every`, … are held out. */
export function holdOut(count: number, every: number): Record<'fit' | 'heldOut', Uint32Array<ArrayBuffer>> {
  const rows = Uint32Array.from({ length: count }, (_, i) => i);
  return { fit: rows.filter((i) => i % every !== 0), heldOut: rows.filter((i) => i % every === 0) };
}
