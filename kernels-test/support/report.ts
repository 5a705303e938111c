import { EliError } from '../../src/errors.ts';

/** `n` normal numbers, the same for the same seed. */
export function gaussians(seed: number, n: number, mean: number, std: number): Float32Array {
  let state = Math.imul(seed, 0x9e3779b9) | 1;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return ((state >>> 0) + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: n },
    () => mean + std * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

/** For `assert.throws`: an `EliError` of this code. */
export const hasCode = (code: string) => (error: unknown) => error instanceof EliError && error.code === code;
