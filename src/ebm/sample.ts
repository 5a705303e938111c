import { detach } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { add } from '../ops/binary.ts';
import { affine, clamp, log } from '../ops/unary.ts';
import { copyInto } from '../ops/views.ts';
import { empty, zeros } from '../tensor/create.ts';
import { randomNormal, randomUniform } from '../tensor/random.ts';
import { denseStrides } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type ChainRandom, chainDraw, checkChainRandom } from './chain-random.ts';
import { checkPoints, type Energy, evaluate } from './energy.ts';
import { EnergyModel } from './energy-model.ts';
import type { ChainState, FusedOptions, Sampler, Step, StepContext, Transition } from './sampler.ts';
import { FINITE, type Schedule, tabulate } from './schedule.ts';

export interface SampleOptions {
  /** Steps of every chain, 0 to 1,000,000. */
  readonly steps: number;
  /** Which random numbers; needed by samplers with noise. */
  readonly random?: ChainRandom;
  /**
   * Lowest and highest value of every element. Langevin and gradient steps end at the limits; MALA and HMC refuse
   * proposals outside, and so sample the density limited to the box (their start is moved into it).
   */
  readonly clamp?: readonly [Schedule, Schedule];
  /** Steps at the beginning that count neither for the trajectory nor for the acceptance; default 0. */
  readonly burnIn?: number;
  /** The trajectory keeps every `thin`-th step after `burnIn`; default 1. */
  readonly thin?: number;
  /** Whether to keep the points on the way. */
  readonly trajectory?: boolean;
}

/** Points and energies along n chains: after steps burnIn + thin, burnIn + 2 thin, … */
export interface Trajectory {
  /** [k, n, d] */
  readonly points: Tensor;
  /** [k, n] */
  readonly energies: Tensor;
}

export interface Chains {
  /** Where the chains end, [n, d]. */
  readonly latents: Tensor;
  /** Share of proposals that each chain took after `burnIn`, [n]; MALA and HMC only. */
  readonly acceptance?: Tensor;
  readonly trajectory?: Trajectory;
}

interface Plan {
  readonly steps: number;
  readonly burnIn: number;
  readonly thin: number;
  /** Points that the trajectory keeps. */
  readonly kept: number;
  readonly low: Float64Array | undefined;
  readonly high: Float64Array | undefined;
  readonly transition: Transition;
}

function plan(sampler: Sampler, options: SampleOptions): Plan {
  const { steps, burnIn = 0, thin = 1, random } = options;
  const whole = (name: string, value: number, low: number, high: number): void => {
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new EliError(
        'ARGUMENT',
        `sample: ${name} is ${value}, must be a whole number from ${low} to ${high}`,
      );
    }
  };
  whole('steps', steps, 0, 1e6);
  whole('burnIn', burnIn, 0, Math.max(0, steps - 1));
  whole('thin', thin, 1, Math.max(1, steps - burnIn));
  if (options.trajectory === true && steps === 0) {
    throw new EliError('ARGUMENT', 'sample: a chain of no steps has no trajectory');
  }
  const transition = sampler.prepare(steps);
  if (random !== undefined) checkChainRandom(random);
  else if (transition.random) {
    throw new EliError('ARGUMENT', `sample: ${sampler.name} draws random numbers`, {
      hint: 'give `random: { seed }`',
    });
  }
  const [low, high] = (options.clamp ?? []).map((schedule, i) =>
    tabulate(`sample: clamp[${i}]`, schedule, Math.max(1, steps), FINITE),
  );
  low?.forEach((value, t) => {
    if (value > high![t]!) {
      throw new EliError(
        'ARGUMENT',
        `sample: clamp is [${value}, ${high![t]}] at step ${t}, must be [low, high]`,
      );
    }
  });
  return { steps, burnIn, thin, kept: Math.floor((steps - burnIn) / thin), low, high, transition };
}

/**
 * Moves n chains on an energy: `start` [n, d] is left as it is. Everything is recorded on the device and nothing read
 * back, so that it can be part of a captured program. Off the tape.
 *
 * Langevin and gradient steps on an `EnergyModel` run in its own kernels unless a trajectory, limits that change, or
 * noise with `random.run` is asked for.
 * @throws EliError `ARGUMENT` for options out of range, naming the step; `SHAPE` or `DTYPE` for points or energies that
 * are not [n, d] and [n]; `NOT_DIFFERENTIABLE` inside `noGrad`.
 */
export function sample(energy: Energy, start: Tensor, sampler: Sampler, options: SampleOptions): Chains {
  checkPoints('sample', start);
  const what = plan(sampler, options);
  return start.engine.tidy(() => {
    const points = detach(start);
    const fused = fusedOptions(options, what.transition.random);
    if (energy instanceof EnergyModel && sampler.fused !== undefined && fused !== undefined) {
      return { latents: sampler.fused(energy, points, fused) };
    }
    return run(energy, points, sampler, what, options);
  });
}

/** The options as the kernels of an `EnergyModel` take them, or undefined where they cannot. */
function fusedOptions(
  { steps, clamp: limits, random, trajectory }: SampleOptions,
  noisy: boolean,
): FusedOptions | undefined {
  if (trajectory === true || (noisy && random?.run !== undefined)) return undefined;
  const [low, high] = limits ?? [];
  if (limits !== undefined && (typeof low !== 'number' || typeof high !== 'number')) return undefined;
  return {
    steps,
    ...(limits === undefined ? {} : { clamp: limits as readonly [number, number] }),
    ...(random === undefined ? {} : { random: { seed: random.seed, stream: random.stream ?? 0 } }),
  };
}

function run(energy: Energy, start: Tensor, sampler: Sampler, what: Plan, options: SampleOptions): Chains {
  const { steps, burnIn, thin, transition } = what;
  const { engine } = start;
  const [n, d] = start.shape as [number, number];
  const fill = (state: ChainState): Required<ChainState> =>
    state.energy !== undefined && state.gradient !== undefined
      ? (state as Required<ChainState>)
      : { points: state.points, ...evaluate(`sample: ${sampler.name}`, energy, state.points) };
  const limited = transition.metropolis && what.low !== undefined;
  const trajectory = options.trajectory === true ? emptyTrajectory(engine, what.kept, n, d) : undefined;

  // A state owns its tensors; the first is a copy, as the start may be the caller's own tensor.
  let state: ChainState = {
    points: limited ? clamp(start, what.low![0]!, what.high![0]!) : affine(start, 1, 0),
  };
  let taken: Tensor | undefined = transition.metropolis && steps > 0 ? zeros(engine, [n]) : undefined;
  for (let t = 0; t < steps; t++) {
    const [before, takenBefore] = [state, taken];
    const counts = t >= burnIn;
    const keep = counts && (t + 1 - burnIn) % thin === 0;
    const after = engine.tidy(() => {
      const step = transition.step(before, contextOf(engine, n, what, options.random, t, fill));
      if (!keep || trajectory === undefined) return step;
      const full = fill(step.state);
      store(trajectory, (t + 1 - burnIn) / thin - 1, full);
      return { ...step, state: full } satisfies Step;
    });
    state = after.state;
    if (after.accepted !== undefined) {
      if (counts) {
        taken = add(takenBefore!, after.accepted);
        takenBefore!.dispose();
      }
      after.accepted.dispose();
    }
    for (const tensor of Object.values(before)) (tensor as Tensor).dispose();
  }
  return {
    latents: state.points,
    ...(taken === undefined ? {} : { acceptance: affine(taken, 1 / (steps - burnIn), 0) }),
    ...(trajectory === undefined ? {} : { trajectory }),
  };
}

function contextOf(
  engine: Engine,
  n: number,
  { low, high }: Plan,
  random: ChainRandom | undefined,
  t: number,
  fill: StepContext['evaluate'],
): StepContext {
  return {
    t,
    ...(low === undefined ? {} : { box: [low[t]!, high![t]!] as const }),
    evaluate: fill,
    normal: (shape) => randomNormal(engine, shape, chainDraw(random!, t, 'noise')),
    logUniform: () => log(randomUniform(engine, [n], chainDraw(random!, t, 'accept'), 1, 0)),
  };
}

function emptyTrajectory(engine: Engine, kept: number, n: number, d: number): Trajectory {
  return { points: empty(engine, [kept, n, d]), energies: empty(engine, [kept, n]) };
}

function store(trajectory: Trajectory, at: number, { points, energy }: Required<ChainState>): void {
  copyInto(points, trajectory.points, denseStrides(points.shape), at * points.size);
  copyInto(energy, trajectory.energies, [1], at * energy.size);
}
