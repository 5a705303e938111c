import { AbortError, stopIfAborted } from '../abort.ts';
import { detach } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import { slice } from '../ops/views.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain } from './chains.ts';
import { checkPoints, type Energy } from './energy.ts';
import { type Plan, planOf, type SampleOptions } from './plan.ts';
import type { Sampler } from './sampler.ts';
import { Stepwise } from './stepwise.ts';

export type { SampleOptions } from './plan.ts';

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
  const plan = planOf(energy, sampler, options);
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
    const chains = new Stepwise(energy, points, plan, plain);
    try {
      chains.advance(plan.steps);
      return chains.finish();
    } finally {
      chains.dispose();
    }
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

/** How `sampleAsync` is followed and stopped. */
export interface SampleHooks {
  /** Stops the chains: it is looked at before the first step and every 40 ms, or after every step that takes longer. */
  readonly signal?: AbortSignal | undefined;
  /** Called several times a second with the steps done. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

/** Milliseconds that the steps recorded at once should take. */
const PIECE = 40;

/**
 * `sample` for chains that take long: step by step and never far ahead of the device, so that the event loop turns, the
 * work can be followed, and a signal stops it. The steps are those of `sample` where it has no kernels for whole chains.
 * @throws EliError as `sample`, and `ARGUMENT` for the variants `fused` and `hidden`
 * @throws AbortError where the signal stops it: `partial` is `{ done, chains }`, the number of steps and the chains after
 *   them
 */
export async function sampleAsync(
  energy: Energy,
  start: Tensor,
  sampler: Sampler,
  options: SampleOptions & SampleHooks,
): Promise<Chains> {
  const plan = planOf(energy, sampler, options);
  const { variant = 'auto', signal, onProgress } = options;
  stopIfAborted(signal, 'sampleAsync was stopped before the first step');
  checkPoints('sampleAsync', start);
  const { engine } = start;
  if (variant === 'fused' || variant === 'hidden') {
    throw new EliError('ARGUMENT', `sampleAsync: variant "${variant}" runs whole chains at once`, {
      hint: 'leave the variant out, or use `sample`',
    });
  }
  const chains = engine.tidy(() => new Stepwise(energy, detach(start), plan, variant === 'plain'));
  try {
    let piece = 1;
    for (let time = performance.now(); chains.done < plan.steps; ) {
      const count = Math.min(piece, plan.steps - chains.done);
      engine.tidy(() => chains.advance(count));
      await engine.sync();
      const now = performance.now();
      piece = Math.max(1, Math.min(2 * piece, Math.floor((count * PIECE) / Math.max(now - time, 1e-3))));
      time = now;
      onProgress?.(chains.done);
      if (signal?.aborted !== true || chains.done === plan.steps) continue;
      throw new AbortError(`sampleAsync was stopped after ${chains.done} of ${plan.steps} steps`, {
        signal,
        partial: { done: chains.done, chains: chains.finish() },
      });
    }
    return chains.finish();
  } finally {
    chains.dispose();
  }
}
