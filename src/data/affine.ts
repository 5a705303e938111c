import { mat3 } from 'gl-matrix';
import { checkWhole, EliError } from '../errors.ts';
import { bitsAt, checkSeed } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';

/** A change of an image about its centre. */
export interface AffineMove {
  /** Degrees, clockwise on the screen (rows grow downwards). */
  readonly rotation?: number;
  /** Magnification; 1 leaves the size. */
  readonly scale?: number;
  /** Columns lean by this many degrees. */
  readonly shear?: number;
  /** Pixels to the right and down. */
  readonly right?: number;
  readonly down?: number;
}

/** Ranges of random moves, drawn uniformly. */
export interface AffineRanges {
  /** Rotation of −rotation … rotation degrees. Default 0. */
  readonly rotation?: number;
  /** Smallest and largest magnification. Default [1, 1]. */
  readonly scale?: readonly [number, number];
  /** Shear of −shear … shear degrees. Default 0. */
  readonly shear?: number;
  /** Moves of −translation … translation pixels along each axis. Default 0. */
  readonly translation?: number;
}

const DEGREE = Math.PI / 180;

/**
 * The map from pixels (x, y) of the moved image to those of the original, both from the centre of the first pixel:
 * rows (a, b, c), (d, e, f) of x' = a x + b y + c, y' = d x + e y + f. It is the inverse of: centre to the origin,
 * scale, shear, rotate, back, translate.
 * @throws EliError `ARGUMENT` for a number that is not finite, a scale not above 0, or a shear not between ±90°.
 */
export function affineMap(move: AffineMove, height: number, width: number): number[] {
  const { rotation = 0, scale = 1, shear = 0, right = 0, down = 0 } = move;
  const finite = [rotation, scale, shear, right, down].every(Number.isFinite);
  if (!finite || !(scale > 0) || Math.abs(shear) >= 90) {
    throw new EliError(
      'ARGUMENT',
      `affineMap: rotation ${rotation}, scale ${scale}, shear ${shear}, right ${right}, down ${down} is not a valid move`,
      { hint: 'numbers must be finite, scale above 0, shear between -90 and 90 degrees' },
    );
  }
  const [x, y] = [(width - 1) / 2, (height - 1) / 2];
  // Plain arrays keep float64; gl-matrix is column-major.
  const forward = mat3.fromTranslation(identity(), [x + right, y + down]);
  mat3.rotate(forward, forward, rotation * DEGREE);
  mat3.multiply(forward, forward, [1, 0, 0, Math.tan(shear * DEGREE), 1, 0, 0, 0, 1]);
  mat3.scale(forward, forward, [scale, scale]);
  mat3.translate(forward, forward, [-x, -y]);
  // Its determinant is scale², so there is an inverse.
  const m = mat3.invert(identity(), forward)!;
  return [m[0]!, m[3]!, m[6]!, m[1]!, m[4]!, m[7]!];
}

function identity(): mat3 {
  return [1, 0, 0, 0, 1, 0, 0, 0, 1];
}

/**
 * Random maps, [count, 2, 3] row-major, for `augment`, which picks one per image: made once, so that a training step
 * needs nothing from the CPU.
 * @throws EliError `ARGUMENT` for a range with invalid moves or a count that is not a whole number from 1.
 */
export function affineMaps(
  ranges: AffineRanges,
  image: { readonly height: number; readonly width: number },
  random: { readonly seed: number; readonly stream?: number },
  count = 4096,
): Float32Array<ArrayBuffer> {
  const { rotation = 0, scale: [smallest, largest] = [1, 1], shear = 0, translation = 0 } = ranges;
  checkWhole('affineMaps: count', count, 1);
  if (!(smallest <= largest))
    throw new EliError('ARGUMENT', `affineMaps: scale ${smallest} to ${largest} is not a range`);
  checkSeed(random.seed);
  const source = { seed: random.seed, stream: random.stream ?? STREAM.affineMaps };
  const maps = new Float32Array(6 * count);
  for (let i = 0; i < count; i++) {
    const [turn, size, lean, right, down] = [0, 1, 2, 3, 4].map((j) => bitsAt(source, 8 * i + j) / 2 ** 32);
    const around = (u: number, most: number): number => (2 * u - 1) * most;
    const move = {
      rotation: around(turn!, rotation),
      scale: smallest + size! * (largest - smallest),
      shear: around(lean!, shear),
      right: around(right!, translation),
      down: around(down!, translation),
    };
    maps.set(affineMap(move, image.height, image.width), 6 * i);
  }
  return maps;
}
