import type { ImageSet } from '../../src/data/image-set.ts';

/** Digits of 8 × 8 drawn by rule: a bright bar whose place is the class, of four. */
export function bars(count: number, seed: number): ImageSet {
  const images = new Uint8Array(count * 64);
  const labels = Uint8Array.from({ length: count }, (_, i) => (i * 7 + seed) % 4);
  labels.forEach((label, i) => {
    for (let k = 0; k < 64; k++) {
      const noise = (Math.imul(k + 64 * i + 7919 * seed, 2654435761) >>> 24) / 4;
      images[64 * i + k] = noise + (Math.floor(k / 16) === label ? 150 : 0);
    }
  });
  return { images, labels, count, channels: 1, height: 8, width: 8, classes: 4 };
}
