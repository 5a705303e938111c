import { checkOptions, checkWhole, EliError, FINITE, nameOf } from '../errors.ts';
import { type ChainRandom, checkChainRandom } from './chain-random.ts';
import type { SamplerVariant } from './chains.ts';
import type { Energy } from './energy.ts';
import type { Sampler } from './sampler.ts';
import { type Schedule, tabulate } from './schedule.ts';

/** How `sample` moves chains. */
export interface SampleOptions {
  /** Steps of every chain, 0 to 1,000,000. */
  readonly steps: number;
  /** Which random numbers; needed by samplers with noise. */
  readonly random?: ChainRandom;
  /**
   * Lowest and highest value of every element. Langevin and gradient steps are cut off there; MALA and HMC reject
   * proposals outside, and so sample the density restricted to the box (their start is moved into it).
   */
  readonly clamp?: readonly [Schedule, Schedule];
  /** First steps, left out of the trajectory and the acceptance rate; default 0. */
  readonly burnIn?: number;
  /** The trajectory keeps every `thin`-th step after `burnIn`; default 1. */
  readonly thin?: number;
  /** Whether to keep the points along the chains, and their energies; default false. */
  readonly trajectory?: boolean;
  /** Whether the trajectory begins with the start; default false. */
  readonly keepStart?: boolean;
  /** Default `auto`. */
  readonly variant?: SamplerVariant;
}

/** Checked options with their defaults, and everything that depends on the step tabulated. */
export type Plan = ReturnType<typeof planOf>;

/** @throws EliError `ARGUMENT` naming the option or argument that is wrong */
export function planOf(energy: Energy, sampler: Sampler, options: SampleOptions) {
  if (typeof (energy as Energy | undefined)?.energy !== 'function') {
    throw new EliError('ARGUMENT', `sample: the energy is ${nameOf(energy)}`, {
      hint: 'give an EnergyModel, or an object with a method energy(points)',
    });
  }
  checkOptions('sample', options, 'give at least { steps: 100 }');
  if (typeof (sampler as Sampler | undefined)?.prepare !== 'function') {
    throw new EliError('ARGUMENT', `sample: the sampler is ${nameOf(sampler)}`, {
      hint: 'langevinSampler({ stepSize: 0.1 }) makes one',
    });
  }
  const { steps, random, burnIn = 0, thin = 1, trajectory = false, keepStart = false } = options;
  checkWhole('sample: steps', steps, 0, 1e6);
  checkWhole('sample: burnIn', burnIn, 0, Math.max(0, steps - 1));
  checkWhole('sample: thin', thin, 1, Math.max(1, steps - burnIn));
  if (trajectory && steps === 0 && !keepStart) {
    throw new EliError('ARGUMENT', 'sample: a chain of no steps has no trajectory', {
      hint: 'with `keepStart: true` it has one point',
    });
  }
  const { name } = sampler;
  const transition = sampler.prepare(steps);
  if (random !== undefined) checkChainRandom(random);
  else if (transition.random) {
    throw new EliError('ARGUMENT', `sample: ${name} draws random numbers`, {
      hint: 'give `random: { seed }`',
    });
  }
  const limits = limitsOf(options);
  return { name, steps, random, burnIn, thin, trajectory, keepStart, limits, transition };
}

/** Lowest and highest value at every step. */
function limitsOf({ clamp: limits, steps }: SampleOptions): [Float64Array, Float64Array] | undefined {
  if (limits === undefined) return undefined;
  const [low, high] = limits.map((schedule, i) =>
    tabulate(`sample: clamp[${i}]`, schedule, Math.max(1, steps), FINITE),
  ) as [Float64Array, Float64Array];
  const wrong = low.findIndex((value, t) => value > high[t]!);
  if (wrong === -1) return [low, high];
  throw new EliError(
    'ARGUMENT',
    `sample: clamp is [${low[wrong]}, ${high[wrong]}] at step ${wrong}, must be [low, high]`,
  );
}
