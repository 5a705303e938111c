import { detach, grad, noGrad } from '../autograd/tape.ts';
import { EliError } from '../errors.ts';
import { add, sub } from '../ops/binary.ts';
import { sum } from '../ops/reduce.ts';
import { affine, clamp } from '../ops/unary.ts';
import { concat, contiguous, copyInto, reshape, slice } from '../ops/views.ts';
import { empty, tensor } from '../tensor/create.ts';
import { checkSeed, randomNormal } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { canRunDeep, sampleDeep } from './deep.ts';
import { type EnergyModel, rowGroups } from './energy-model.ts';
import { canRunHidden, sampleHidden } from './hidden.ts';
import { type Schedule, scheduleAt } from './schedule.ts';

export interface LangevinOptions {
  readonly steps: number;
  /** ε: how far a step goes along minus the energy's gradient. */
  readonly stepSize: Schedule;
  /** σ: standard deviation of the noise added at each step; default 0, as in ELI. √(2ε) samples at temperature 1. */
  readonly noise?: Schedule;
  /** Limits every element of the latents after each step. */
  readonly clamp?: readonly [number, number];
  /** Which noise; needed when `noise` is given. */
  readonly random?: { readonly seed: number; readonly stream?: number };
}

/** How a chain is computed; all agree within rounding. `auto` takes the fastest that the options allow. */
export type SamplerVariant = 'auto' | 'plain' | 'fused' | 'hidden';

export interface Samples {
  /** Where the chains end, [n, d]. */
  readonly latents: Tensor;
  /** All points, the start included, [steps + 1, n, d]; only when asked for. */
  readonly trajectory?: Tensor;
}

interface Chain {
  readonly steps: number;
  /** Step size and noise of each step in turn. */
  readonly table: Float32Array<ArrayBuffer>;
  readonly noisy: boolean;
}

function checkOptions(options: LangevinOptions): Chain {
  const { steps } = options;
  if (!Number.isInteger(steps) || steps < 0 || steps > 1e6) {
    throw new EliError(
      'ARGUMENT',
      `Langevin sampler: steps is ${steps}, must be a whole number from 0 to 1,000,000`,
    );
  }
  const table = new Float32Array(2 * Math.max(1, steps));
  for (let t = 0; t < steps; t++) {
    table[2 * t] = scheduleAt(options.stepSize, t, steps);
    table[2 * t + 1] = scheduleAt(options.noise ?? 0, t, steps);
  }
  if (!table.every(Number.isFinite))
    throw new EliError('ARGUMENT', 'Langevin sampler: a step size or noise is not finite');
  const [low, high] = options.clamp ?? [0, 0];
  if (!(low <= high)) {
    throw new EliError('ARGUMENT', `Langevin sampler: clamp is [${low}, ${high}], must be [low, high]`);
  }
  const noisy = table.some((value, i) => i % 2 === 1 && value !== 0);
  if (noisy && options.random === undefined) {
    throw new EliError('ARGUMENT', 'Langevin sampler: noise needs `random: { seed }`');
  }
  if (options.random !== undefined) checkSeed(options.random.seed);
  return { steps, table, noisy };
}

/**
 * Moves latents down the energy by Langevin steps x ← x − ε ∂E/∂x + σ ξ (Joseph et al., CVPR 2022, equation 6; Welling
 * and Teh, 2011): `start` [n, d] is left as it is. Not on the tape.
 * @throws EliError `ARGUMENT`, `SHAPE`; or `ARGUMENT` when a variant is asked for that cannot do what the options say.
 */
export function langevin(
  model: EnergyModel,
  start: Tensor,
  options: LangevinOptions,
  variant: SamplerVariant = 'auto',
  withTrajectory = false,
): Samples {
  model.checkLatents(start);
  const chain = checkOptions(options);
  const { steps, noisy } = chain;
  const { engine } = start;
  const constant =
    typeof options.stepSize === 'number' && !noisy && options.clamp === undefined && !withTrajectory;
  const inHidden = canRunHidden(engine, model.config)
    ? sampleHidden
    : canRunDeep(engine, model.config)
      ? sampleDeep
      : undefined;
  const hidden = constant && steps > 0 ? inHidden : undefined;
  if (variant === 'hidden' && hidden === undefined) {
    throw new EliError(
      'ARGUMENT',
      'Langevin sampler: the hidden-layer variant needs one hidden layer of 32 or 64 units, or more of 2, 4, 6, 8, 12 or 16 units for each lane of a subgroup, a constant step size, no noise, clamp or trajectory, and subgroups of one size',
    );
  }
  return engine.tidy(() => {
    const x = detach(start);
    if (hidden !== undefined && (variant === 'hidden' || variant === 'auto')) {
      return {
        latents: noGrad(engine, () =>
          inChunks(x, (part) => hidden(model, part, steps, options.stepSize as number)),
        ),
      };
    }
    // The fused kernel lives on barriers, for which software drivers take 5 to 20 times as long as for plain ops.
    if (variant === 'plain' || (variant === 'auto' && engine.adapter.software))
      return plain(model, x, options, chain, withTrajectory);
    return fused(model, x, options, chain, withTrajectory);
  });
}

/** Rows that one launch takes, so that buffers and workgroup counts stay within every adapter's limits. */
const CHUNK_ROWS = 16384;

/** Applies `fn` to up to so many rows [n, d] at a time. */
function inChunks(x: Tensor, fn: (part: Tensor) => Tensor): Tensor {
  const [n, d] = x.shape as [number, number];
  if (n <= CHUNK_ROWS) return fn(x);
  const out = empty(x.engine, x.shape);
  for (let first = 0; first < n; first += CHUNK_ROWS) {
    x.engine.tidy(() => {
      const done = fn(slice(x, 0, first, Math.min(first + CHUNK_ROWS, n)));
      copyInto(done, out, out.strides, first * d);
    });
  }
  return out;
}

function plain(
  model: EnergyModel,
  start: Tensor,
  options: LangevinOptions,
  { steps, table, noisy }: Chain,
  withTrajectory: boolean,
): Samples {
  const { engine } = start;
  let x = contiguous(start);
  const points = [x];
  for (let t = 0; t < steps; t++) {
    const before = x;
    x = engine.tidy(() => {
      let next = sub(x, affine(energyGradient(model, x), table[2 * t]!, 0));
      if (noisy) {
        const random = { ...options.random!, step: t };
        next = add(next, randomNormal(engine, x.shape, random, 0, table[2 * t + 1]!));
      }
      return options.clamp === undefined ? next : clamp(next, ...options.clamp);
    });
    if (withTrajectory) points.push(x);
    else before.dispose();
  }
  // The start may be the caller's own tensor: hand out another.
  const latents = steps === 0 ? affine(x, 1, 0) : x;
  if (!withTrajectory) return { latents };
  return {
    latents,
    trajectory: concat(
      points.map((p) => reshape(p, [1, ...p.shape])),
      0,
    ),
  };
}

/** ∂ Σ E(x) / ∂x by automatic differentiation. */
function energyGradient(model: EnergyModel, x: Tensor): Tensor {
  const leaf = detach(x);
  leaf.requiresGrad = true;
  return grad(sum(model.energy(leaf)), [leaf])[0]!;
}

function fused(
  model: EnergyModel,
  start: Tensor,
  options: LangevinOptions,
  { steps, table, noisy }: Chain,
  withTrajectory: boolean,
): Samples {
  const { engine } = start;
  const [rows, d] = start.shape as [number, number];
  const dense = contiguous(start);
  const latents = empty(engine, [rows, d]);
  const trajectory = empty(engine, withTrajectory ? [steps + 1, rows, d] : [1]);
  const seed = options.random?.seed ?? 0;
  const scheduled = table.some((value, i) => value !== table[i % 2]);
  const schedule = scheduled ? tensor(engine, table) : dense;
  engine.run('ebm/langevin.wgsl', {
    storages: [dense, model.packed(engine), schedule, latents, trajectory].map((t) => t.storage),
    consts: model.kernelConsts(),
    overrides: {
      SCHEDULED: scheduled ? 1 : 0,
      NOISE: noisy ? 1 : 0,
      CLAMP: options.clamp === undefined ? 0 : 1,
      TRAJECTORY: withTrajectory ? 1 : 0,
    },
    params: {
      ...model.kernelParams(),
      rows,
      offset: dense.offset,
      steps,
      step_size: table[0]!,
      noise: table[1]!,
      seed_low: seed >>> 0,
      seed_high: Math.floor(seed / 2 ** 32),
      stream: options.random?.stream ?? 0,
      low: options.clamp?.[0] ?? 0,
      high: options.clamp?.[1] ?? 0,
    },
    groups: rowGroups(rows),
  });
  return withTrajectory ? { latents, trajectory } : { latents };
}
