import { checkOptions, POSITIVE, wholeFrom } from '../errors.ts';
import { add, div, mul, sub } from '../ops/binary.ts';
import { sqrt } from '../ops/unary.ts';
import { expectShape } from '../tensor/shape.ts';
import { checkDType, Tensor } from '../tensor/tensor.ts';
import { halfSquares, metropolis } from './metropolis.ts';
import type { ChainState, Sampler, StepContext, Tempered } from './sampler.ts';
import { type Schedule, tabulate } from './schedule.ts';

export interface HmcOptions extends Tempered {
  /** h: time of one leapfrog step. */
  readonly stepSize: Schedule;
  /** L: leapfrog steps of one proposal, 1 to 10,000. */
  readonly leapfrogSteps: Schedule;
  /** m for all dimensions, or one for each as a tensor [d] of positive numbers; default 1. */
  readonly mass?: Schedule | Tensor;
}

/**
 * Hamiltonian Monte Carlo (Neal, 2011): momenta p ~ N(0, T m), L leapfrog steps of time h through the energy, and the
 * end is accepted with probability min(1, exp(−ΔH / T)), H = E(x) + Σ p² / 2m. One leapfrog step with m = 1 is MALA with
 * ε = h² / 2. The best acceptance rate in many dimensions is about 65 % (Beskos et al., 2013).
 */
export function hmc(options: HmcOptions): Sampler {
  checkOptions('hmc', options, 'give { stepSize, leapfrogSteps }');
  const { stepSize, leapfrogSteps, mass = 1, temperature = 1 } = options;
  return {
    name: 'hmc',
    prepare(steps) {
      const sizes = tabulate('hmc: stepSize', stepSize, steps, POSITIVE);
      const counts = tabulate('hmc: leapfrogSteps', leapfrogSteps, steps, wholeFrom(1, 10_000));
      const temperatures = tabulate('hmc: temperature', temperature, steps, POSITIVE);
      const masses = mass instanceof Tensor ? undefined : tabulate('hmc: mass', mass, steps, POSITIVE);
      return {
        random: true,
        metropolis: true,
        step(state, context) {
          const { t, evaluate, normal } = context;
          const old = evaluate(state);
          const m = mass instanceof Tensor ? checkMass(mass, old.points) : masses![t]!;
          const heat = temperatures[t]!;
          const scale = typeof m === 'number' ? Math.sqrt(m * heat) : sqrt(mul(m, heat));
          const momentum = mul(normal(old.points.shape), scale);
          const end = leapfrog(evaluate, old, momentum, sizes[t]!, counts[t]!, m);
          const potential = sub(old.energy, end.state.energy);
          const kinetic = sub(halfSquares(momentum, m), halfSquares(end.momentum, m));
          return metropolis(old, end.state, mul(add(potential, kinetic), 1 / heat), context);
        },
      };
    },
  };
}

/**
 * Motion of n particles through an energy by leapfrog steps of time h (Neal, 2011), for masses m: points and momenta
 * [n, d] → those at the end. Volume preserving and reversible: from the end with momenta of opposite sign it leads back.
 * ΔH of a fixed time is of order h².
 */
export function leapfrog(
  evaluate: StepContext['evaluate'],
  start: Required<ChainState>,
  momentum: Tensor,
  h: number,
  steps: number,
  m: number | Tensor,
): { state: Required<ChainState>; momentum: Tensor } {
  const { engine } = momentum;
  let state = start;
  // Half a kick, then drifts and kicks in turn, and half a kick at the end.
  let p = sub(momentum, mul(start.gradient, h / 2));
  for (let step = 1; step <= steps; step++) {
    const before = { state, p };
    ({ state, p } = engine.tidy(() => {
      const next = evaluate({ points: add(before.state.points, mul(div(before.p, m), h)) });
      return { state: next, p: sub(before.p, mul(next.gradient, step === steps ? h / 2 : h)) };
    }));
    before.p.dispose();
    if (before.state !== start) for (const tensor of Object.values(before.state)) tensor.dispose();
  }
  return { state, momentum: p };
}

/** @throws EliError `SHAPE` or `DTYPE` unless the masses are f32 [d]. */
function checkMass(mass: Tensor, points: Tensor): Tensor {
  checkDType('hmc: mass', mass, 'f32');
  expectShape('hmc: mass', mass.shape, points.shape.slice(1));
  return mass;
}
