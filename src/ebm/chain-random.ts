import { checkWhole } from '../errors.ts';
import { checkSeed, philox, type RandomSource } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Which random numbers a chain uses: the same choice gives the same chain. */
export interface ChainRandom {
  /** Whole number from 0 to 2^53 − 1. */
  readonly seed: number;
  /** Separates uses of one seed: 0 to 2^32 − 1. Default: a stream that only chains use. */
  readonly stream?: number;
  /**
   * Number of the run, in a loop that runs the sampler many times: runs without it, or with the same number, draw the same.
   * A u32 tensor of one element is read on the device, so that replays of a captured program differ.
   */
  readonly run?: number | Tensor;
}

/** What a chain draws random numbers for; `noise` is that of unadjusted Langevin steps alone. */
const ROLE = { noise: 0, accept: 1, mask: 2, fresh: 3, start: 4, proposal: 5 } as const;

/** @throws EliError `ARGUMENT` for a seed or run out of range. */
export function checkChainRandom(random: ChainRandom): void {
  checkSeed(random.seed);
  const { run } = random;
  if (run !== undefined && !(run instanceof Tensor)) checkWhole('random.run', run, 0, 2 ** 32 - 1);
}

/**
 * The random numbers of chain step t. Noise without `run` has (seed, stream, step t), as in the energies' kernels, so that
 * both make the same chain. Everything else has a seed hashed from seed, stream, step and role: the fourth word of the
 * hash's counter is 1 or, without `run`, 2, while draws have 0, so that hash and draws never coincide.
 */
export function chainDraw(random: ChainRandom, t: number, role: keyof typeof ROLE): RandomSource {
  const { seed, stream = STREAM.chains, run } = random;
  if (run === undefined && role === 'noise') return { seed, stream, step: t };
  const words = philox([t, ROLE[role], stream, run === undefined ? 2 : 1], seed);
  return { seed: words[0]! * 2 ** 21 + (words[1]! >>> 11), stream, step: run ?? 0 };
}
