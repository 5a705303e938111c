import { checkOptions, EliError, FINITE, NOT_NEGATIVE } from '../errors.ts';
import { add, mul, sub } from '../ops/binary.ts';
import { clamp } from '../ops/unary.ts';
import { type Sampler, STEP_SIZE, type Tempered } from './sampler.ts';
import { type Schedule, tabulate } from './schedule.ts';

export interface LangevinSamplerOptions extends Tempered {
  /** ε: how far a step descends the energy's gradient. */
  readonly stepSize: Schedule;
  /** σ: standard deviation of the noise of a step, instead of √(2εT); not together with `temperature`. */
  readonly noise?: Schedule;
}

/**
 * The unadjusted Langevin algorithm x ← x − ε ∂E/∂x + √(2εT) ξ (Roberts and Tweedie, 1996; Welling and Teh,
 * 2011). Its stationary density differs from exp(−E/T) by a bias that vanishes with ε: on a Gaussian of variance
 * s² the variance is s² / (1 − ε / (2 s²)). Energies with kernels for whole chains, such as `EnergyModel`, run it there.
 * @throws EliError `ARGUMENT` for both `noise` and `temperature`.
 */
export function langevinSampler(options: LangevinSamplerOptions): Sampler {
  checkOptions('langevinSampler', options, STEP_SIZE);
  const { stepSize, noise, temperature } = options;
  if (noise !== undefined && temperature !== undefined) {
    throw new EliError('ARGUMENT', 'langevinSampler: noise and temperature both set the noise', {
      hint: 'give one of them',
    });
  }
  return unadjusted('langevinSampler', stepSize, noise, temperature ?? 1);
}

/** Gradient descent x ← x − ε ∂E/∂x: Langevin steps without noise, as ELI's aligner takes them. */
export function gradientDescent(options: { readonly stepSize: Schedule }): Sampler {
  checkOptions('gradientDescent', options, STEP_SIZE);
  return unadjusted('gradientDescent', options.stepSize, 0, 0);
}

/** Steps with noise σ, or √(2εT) where σ is undefined. */
function unadjusted(
  name: string,
  stepSize: Schedule,
  noise: Schedule | undefined,
  temperature: Schedule,
): Sampler {
  return {
    name,
    prepare(steps) {
      const rule = noise === undefined ? NOT_NEGATIVE : FINITE;
      const stepSizes = tabulate(`${name}: stepSize`, stepSize, steps, rule);
      const temperatures = tabulate(`${name}: temperature`, temperature, steps, NOT_NEGATIVE);
      const sigma = noise ?? ((t: number) => Math.sqrt(2 * stepSizes[t]! * temperatures[t]!));
      const sigmas = tabulate(`${name}: noise`, sigma, steps, NOT_NEGATIVE);
      return {
        random: sigmas.some((v) => v > 0),
        metropolis: false,
        langevin: { stepSizes, sigmas },
        step(state, { t, box, evaluate, normal }) {
          const { points, gradient } = evaluate(state);
          let next = sub(points, mul(gradient, stepSizes[t]!));
          if (sigmas[t]! > 0) next = add(next, normal(points.shape, sigmas[t]!));
          return { state: { points: box === undefined ? next : clamp(next, ...box) } };
        },
      };
    },
  };
}
