import { detach } from '../autograd/tape.ts';
import { checkNumber, checkWhole, EliError, SHARE } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { add, less, mul, sub } from '../ops/binary.ts';
import { mean } from '../ops/reduce.ts';
import { concat, slice } from '../ops/views.ts';
import { where } from '../ops/where.ts';
import { full } from '../tensor/create.ts';
import { type RandomSource, randomUniform } from '../tensor/random.ts';
import { expectShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type ChainRandom, chainDraw, checkChainRandom } from './chain-random.ts';
import { checkPoints, type Energy, energyOf } from './energy.ts';
import { ReplayBuffer } from './replay-buffer.ts';
import { type SampleOptions, sample } from './sample.ts';
import type { Sampler } from './sampler.ts';

/** Settings of `contrastiveLoss`. */
export interface ContrastiveOptions {
  /** Weight of the L2 regulariser on both batches' energies (`energyL2`); default 0. */
  readonly l2?: number;
}

/**
 * mean E(data) − mean E(sampled), a scalar on the tape: its gradient with respect to the energy's parameters is that of
 * minus the log-likelihood if `sampled` [m, d] comes from the energy's own density (Hinton, 2002). With f = −E it is the
 * aligner's loss, mean f(sampled) − mean f(previous) (Joseph et al., CVPR 2022, equation 5). No gradient flows into
 * `sampled`.
 * @throws EliError `SHAPE`, `DTYPE`.
 */
export function contrastiveLoss(
  energy: Energy,
  data: Tensor,
  sampled: Tensor,
  { l2 = 0 }: ContrastiveOptions = {},
): Tensor {
  for (const points of [data, sampled]) checkPoints('contrastiveLoss', points);
  expectShape('contrastiveLoss: sampled', sampled.shape, ['m', data.shape[1]!]);
  // Rows do not depend on one another: one pass for both takes half the dispatches.
  const both = energyOf('contrastiveLoss', energy, concat([data, detach(sampled)], 0));
  const real = slice(both, 0, 0, data.shape[0]!);
  const made = slice(both, 0, data.shape[0]!, both.shape[0]!);
  const loss = sub(mean(real), mean(made));
  return l2 === 0 ? loss : add(loss, mul(energyL2(real, made), l2));
}

/**
 * Σ mean(E²) over batches of energies, such as those of the data and of the samples; a scalar on the tape. Added to a
 * contrastive loss with a small weight it keeps energies near 0, where the loss alone sees only their difference (Du and
 * Mordatch, 2019).
 * @throws EliError `ARGUMENT` for no energies.
 */
export function energyL2(...energies: readonly Tensor[]): Tensor {
  if (energies.length === 0) throw new EliError('ARGUMENT', 'energyL2: no energies were given');
  return energies.map((energy) => mean(mul(energy, energy))).reduce((a, b) => add(a, b));
}

/** Settings of `PersistentChains`. */
export interface PersistentOptions {
  /** Where chains start, at first and when renewed: n points [n, d] drawn from `source`. */
  readonly fresh: (n: number, source: RandomSource) => Tensor;
  /** Chains moved at each call. */
  readonly chains: number;
  /** Points in the replay buffer, a multiple of `chains`; default `chains`. */
  readonly capacity?: number;
  /** Share of chains that start afresh at each call, 0 to 1; default 0.05. */
  readonly freshFraction?: number;
  readonly sampler: Sampler;
  /** Steps of the sampler at each call. */
  readonly steps: number;
  readonly clamp?: SampleOptions['clamp'];
  readonly random: Omit<ChainRandom, 'run'>;
}

/**
 * Chains for contrastive divergence that continue where they ended at the last call (Tieleman, 2008), in a replay buffer
 * on the device; at each call a share of them starts afresh (Du and Mordatch, 2019).
 */
export class PersistentChains {
  readonly buffer: ReplayBuffer;
  readonly #options: PersistentOptions;
  readonly #share: number;
  #calls = 0;

  /** @throws EliError `ARGUMENT`, `SHAPE`. */
  constructor(engine: Engine, options: PersistentOptions) {
    const { chains, capacity = chains, freshFraction = 0.05, random } = options;
    checkNumber('PersistentChains: freshFraction', freshFraction, SHARE);
    checkWhole('PersistentChains: chains', chains, 1);
    checkWhole('PersistentChains: capacity', capacity, 1);
    checkChainRandom(random);
    this.#options = options;
    this.#share = freshFraction;
    this.buffer = engine.tidy(
      () => new ReplayBuffer(options.fresh(capacity, chainDraw(random, 0, 'start')), chains),
    );
  }

  /**
   * Moves the next chains down the energy and returns where they end, [chains, d], off the tape.
   * @param run which random numbers: the number of the call; in a captured program a u32 tensor [1] that differs from
   * replay to replay, such as the step counter of the fit
   */
  advance(energy: Energy, run: number | Tensor = this.#calls++): Tensor {
    const { fresh, chains, sampler, steps, clamp } = this.#options;
    const random = { ...this.#options.random, run };
    const { buffer } = this;
    return buffer.engine.tidy(() => {
      let start = buffer.take();
      if (this.#share > 0) {
        const draw = randomUniform(buffer.engine, [chains, 1], chainDraw(random, 0, 'mask'));
        const renewed = less(draw, full(buffer.engine, [1], this.#share));
        start = where(renewed, fresh(chains, chainDraw(random, 0, 'fresh')), start);
      }
      const { latents } = sample(energy, start, sampler, { steps, random, ...(clamp && { clamp }) });
      buffer.put(latents);
      return latents;
    });
  }

  /** Persistent contrastive divergence: `contrastiveLoss` against the chains after `advance`. On the tape. */
  loss(energy: Energy, data: Tensor, options: ContrastiveOptions & { run?: number | Tensor } = {}): Tensor {
    return contrastiveLoss(energy, data, this.advance(energy, options.run), options);
  }

  /** Frees the replay buffer. */
  dispose(): void {
    this.buffer.dispose();
  }
}
