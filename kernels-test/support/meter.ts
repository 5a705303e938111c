// Counts the bytes that arrays of their own take. Import it before what is to be measured: some keep the constructors.

let bytes = 0;

const ARRAYS = [
  'ArrayBuffer',
  'Uint8Array',
  'Int8Array',
  'Uint16Array',
  'Int16Array',
  'Uint32Array',
  'Int32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
] as const;

for (const name of ARRAYS) {
  const original = globalThis[name] as {
    new (...values: unknown[]): { readonly byteLength: number };
    readonly BYTES_PER_ELEMENT?: number;
  };
  const counted = new Proxy(original, {
    construct(target, values, newTarget) {
      // Asked for before it is made: what is too large throws, and counts.
      if (typeof values[0] === 'number') bytes += values[0] * (target.BYTES_PER_ELEMENT ?? 1);
      const made = Reflect.construct(target, values, newTarget) as { readonly byteLength: number };
      const isView = values[0] instanceof ArrayBuffer || values[0] instanceof SharedArrayBuffer;
      if (typeof values[0] !== 'number' && !isView) bytes += made.byteLength;
      return made;
    },
  });
  Object.assign(globalThis, { [name]: counted });
}

/** Bytes of all arrays made since the last call. */
export function takenBytes(): number {
  const taken = bytes;
  bytes = 0;
  return taken;
}
