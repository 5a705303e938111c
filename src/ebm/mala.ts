import { checkOptions, POSITIVE } from '../errors.ts';
import { add, mul, sub } from '../ops/binary.ts';
import { affine } from '../ops/unary.ts';
import { halfSquares, metropolis } from './metropolis.ts';
import { type Sampler, STEP_SIZE, type Tempered } from './sampler.ts';
import { type Schedule, tabulate } from './schedule.ts';

export interface MalaOptions extends Tempered {
  /** ε: how far a proposal descends the energy's gradient. */
  readonly stepSize: Schedule;
}

/**
 * The Metropolis-adjusted Langevin algorithm (Roberts and Tweedie, 1996): the proposal y = x − ε ∂E/∂x + √(2εT) ξ is
 * accepted with probability min(1, exp(−(E(y) − E(x)) / T) q(x | y) / q(y | x)), so that exp(−E/T) is exactly the
 * stationary density. The best acceptance rate in many dimensions is about 57 % (Roberts and Rosenthal, 1998).
 */
export function mala(options: MalaOptions): Sampler {
  checkOptions('mala', options, STEP_SIZE);
  const { stepSize, temperature = 1 } = options;
  return {
    name: 'mala',
    prepare(steps) {
      const sizes = tabulate('mala: stepSize', stepSize, steps, POSITIVE);
      const temperatures = tabulate('mala: temperature', temperature, steps, POSITIVE);
      return {
        random: true,
        metropolis: true,
        step(state, context) {
          const { t, evaluate, normal } = context;
          const [epsilon, heat] = [sizes[t]!, temperatures[t]!];
          const old = evaluate(state);
          const noise = normal(old.points.shape);
          const points = add(
            sub(old.points, mul(old.gradient, epsilon)),
            mul(noise, Math.sqrt(2 * epsilon * heat)),
          );
          const proposal = evaluate({ points });
          // log q(x | y) and log q(y | x), both without their common constant.
          const back = add(sub(old.points, points), mul(proposal.gradient, epsilon));
          const proposals = sub(halfSquares(noise), affine(halfSquares(back), 1 / (2 * epsilon * heat), 0));
          const ratio = add(mul(sub(old.energy, proposal.energy), 1 / heat), proposals);
          return metropolis(old, proposal, ratio, context);
        },
      };
    },
  };
}
