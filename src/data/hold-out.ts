/** Rows 0 … count − 1 in two parts, in order: one of every so many rows is held out, from the first on. */
export function holdOut(count: number, every: number): Record<'fit' | 'heldOut', Uint32Array<ArrayBuffer>> {
  const rows = Uint32Array.from({ length: count }, (_, i) => i);
  return { fit: rows.filter((i) => i % every !== 0), heldOut: rows.filter((i) => i % every === 0) };
}
