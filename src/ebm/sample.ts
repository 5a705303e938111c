import { detach } from '../autograd/tape.ts';
import { checkWhole, EliError, FINITE } from '../errors.ts';
import { add } from '../ops/binary.ts';
import { affine, clamp, log } from '../ops/unary.ts';
import { contiguous, copyInto, slice } from '../ops/views.ts';
import { empty, zeros } from '../tensor/create.ts';
import { randomNormal, randomUniform } from '../tensor/random.ts';
import { denseStrides } from '../tensor/shape.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type ChainRandom, chainDraw, checkChainRandom } from './chain-random.ts';
import type { Chains, LangevinChain, SamplerVariant, Trajectory } from './chains.ts';
import { checkPoints, type Energy, evaluate } from './energy.ts';
import type { ChainState, Sampler, StepContext } from './sampler.ts';
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
type Plan = ReturnType<typeof planOf>;

function planOf(sampler: Sampler, options: SampleOptions) {
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

/**
 * Moves n chains on an energy from `start` [n, d], which is left as it is. Everything is recorded on the device and
 * nothing is read back, so it can be part of a captured program. Off the tape.
 *
 * Langevin and gradient steps run in the energy's own kernels where it has them (as `EnergyModel` does), unless limits
 * change from step to step, noise depends on `random.run`, or a trajectory has `burnIn` or `thin`.
 * @throws EliError `ARGUMENT` for options out of range, naming the step, or that the variant cannot run; `SHAPE` or
 * `DTYPE` for points or energies that are not [n, d] and [n]; `NOT_DIFFERENTIABLE` inside `noGrad`.
 */
export function sample(energy: Energy, start: Tensor, sampler: Sampler, options: SampleOptions): Chains {
  checkPoints('sample', start);
  const plan = planOf(sampler, options);
  const { variant = 'auto' } = options;
  return start.engine.tidy(() => {
    const points = detach(start);
    const chain = langevinChain(plan);
    const result = chain && energy.chains?.(points, chain, variant);
    if (result !== undefined) return chainsOf(result, plan);
    if (variant === 'fused' || variant === 'hidden') {
      throw new EliError('ARGUMENT', `sample: no kernels for variant "${variant}" of this chain`, {
        hint: 'they need an EnergyModel, a Langevin sampler, constant limits, no random.run, and every step kept',
      });
    }
    // An energy that has kernels for such a chain and leaves it to ops finds these faster here.
    const plain = variant === 'plain' || (chain !== undefined && energy.chains !== undefined);
    return stepByStep(energy, points, plan, plain);
  });
}

/** The chain as the kernels of an energy take it, or undefined where they cannot. */
function langevinChain(plan: Plan): LangevinChain | undefined {
  const { steps, burnIn, thin, limits, random, trajectory, transition } = plan;
  const { langevin } = transition;
  const moving = limits?.some((values) => values.some((v) => v !== values[0]));
  const thinned = trajectory && (burnIn > 0 || thin > 1);
  if (langevin === undefined || moving || thinned) return undefined;
  if (transition.random && random?.run !== undefined) return undefined;
  return {
    steps,
    ...langevin,
    ...(limits && { clamp: [limits[0][0]!, limits[1][0]!] }),
    ...(random && { random: { seed: random.seed, stream: random.stream ?? STREAM.chains } }),
    trajectory,
  };
}

/** What an energy's kernels returned, with the points that the caller wants. */
function chainsOf({ latents, trajectory }: Chains, { keepStart }: Plan): Chains {
  if (trajectory === undefined) return { latents };
  const kept = (all: Tensor): Tensor => (keepStart ? all : slice(all, 0, 1, all.shape[0]!));
  return { latents, trajectory: { points: kept(trajectory.points), energies: kept(trajectory.energies) } };
}

function stepByStep(energy: Energy, start: Tensor, plan: Plan, plain: boolean): Chains {
  const { name, steps, burnIn, thin, limits, random, transition } = plan;
  const { engine } = start;
  const n = start.shape[0]!;
  const fill = (state: ChainState): Required<ChainState> =>
    state.energy !== undefined && state.gradient !== undefined
      ? (state as Required<ChainState>)
      : { points: state.points, ...evaluate(`sample: ${name}`, energy, state.points, plain) };
  const role = transition.langevin === undefined ? 'proposal' : 'noise';
  const boxAt = (t: number) => limits && ([limits[0][t]!, limits[1][t]!] as const);
  const contextOf = (t: number, box = boxAt(t)): StepContext => ({
    t,
    ...(box && { box }),
    evaluate: fill,
    normal: (shape, deviation = 1) => randomNormal(engine, shape, chainDraw(random!, t, role), 0, deviation),
    logUniform: () => log(randomUniform(engine, [n], chainDraw(random!, t, 'accept'), 1, 0)),
  });
  const kept = plan.trajectory ? new Kept(start, plan) : undefined;

  // A state owns its tensors.
  const box = transition.metropolis ? boxAt(0) : undefined;
  let state: ChainState = { points: box ? clamp(start, ...box) : contiguous(start) };
  if (plan.keepStart && kept !== undefined) {
    const full = fill(state);
    kept.add(full);
    state = full;
  }
  let taken = transition.metropolis && steps > 0 ? zeros(engine, [n]) : undefined;
  for (let t = 0; t < steps; t++) {
    const before = state;
    const counts = t >= burnIn;
    const { state: after, accepted } = engine.tidy(() => {
      const step = transition.step(before, contextOf(t));
      if (kept === undefined || !counts || (t + 1 - burnIn) % thin !== 0) return step;
      const full = fill(step.state);
      kept.add(full);
      return { ...step, state: full };
    });
    state = after;
    if (taken !== undefined && accepted !== undefined && counts) {
      const sum = add(taken, accepted);
      taken.dispose();
      taken = sum;
    }
    accepted?.dispose();
    for (const tensor of Object.values(before)) (tensor as Tensor).dispose();
  }
  return {
    // Without a step these are the caller's own elements.
    latents: steps === 0 ? affine(state.points, 1, 0) : state.points,
    ...(taken && { acceptance: affine(taken, 1 / (steps - burnIn), 0) }),
    ...(kept && { trajectory: kept.trajectory }),
  };
}

/** Fills a trajectory. */
class Kept {
  readonly trajectory: Trajectory;
  #count = 0;

  constructor({ engine, shape }: Tensor, { steps, burnIn, thin, keepStart }: Plan) {
    const [n, d] = shape as [number, number];
    const k = Math.floor((steps - burnIn) / thin) + (keepStart ? 1 : 0);
    this.trajectory = { points: empty(engine, [k, n, d]), energies: empty(engine, [k, n]) };
  }

  add({ points, energy }: Required<ChainState>): void {
    const at = this.#count++;
    copyInto(points, this.trajectory.points, denseStrides(points.shape), at * points.size);
    copyInto(energy, this.trajectory.energies, [1], at * energy.size);
  }
}
