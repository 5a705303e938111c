import { contiguous, copyInto } from '../ops/views.ts';
import { empty, tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain } from './chains.ts';
import type { EnergyNetwork } from './network.ts';

/*
 * Energies and whole chains of networks of any size by one workgroup for each row, with latent and activations in
 * workgroup memory (shaders/lib/energy.wgsl).
 */

/** Energy [n] and its gradient [n, d] of latents [n, d], off the tape. Call inside a tidy scope. */
export function fusedEnergy(network: EnergyNetwork, x: Tensor): { energy: Tensor; gradient: Tensor } {
  const energy = empty(x.engine, [x.shape[0]!]);
  const gradient = empty(x.engine, x.shape);
  run('ebm/energy.wgsl', network, contiguous(x), [energy, gradient], NO_CHAIN);
  return { energy, gradient };
}

/** Chains from `start` [n, d] with any options, in one dispatch. Call inside a tidy scope. */
export function fusedChains(network: EnergyNetwork, start: Tensor, chain: LangevinChain): Chains {
  const { steps, stepSizes, sigmas, random, clamp, trajectory } = chain;
  const { engine } = start;
  const dense = contiguous(start);
  const latents = empty(engine, start.shape);
  const points = empty(engine, trajectory ? [steps + 1, ...start.shape] : [1]);
  const energies = empty(engine, trajectory ? [steps + 1, start.shape[0]!] : [1]);
  const scheduled = [stepSizes, sigmas].some((values) => values.some((v) => v !== values[0]));
  const pairs = Array.from(stepSizes, (size, t) => [size, sigmas[t]!]);
  const schedule = scheduled ? tensor(engine, Float32Array.from(pairs.flat())) : dense;
  const seed = random?.seed ?? 0;
  const params = {
    steps,
    step_size: stepSizes[0] ?? 0,
    noise: sigmas[0] ?? 0,
    seed_low: seed >>> 0,
    seed_high: Math.floor(seed / 2 ** 32),
    stream: random?.stream ?? 0,
    low: clamp?.[0] ?? 0,
    high: clamp?.[1] ?? 0,
  };
  run('ebm/langevin.wgsl', network, dense, [schedule, latents, points, energies], params, {
    SCHEDULED: scheduled ? 1 : 0,
    NOISE: sigmas.some((v) => v !== 0) ? 1 : 0,
    CLAMP: clamp === undefined ? 0 : 1,
    TRAJECTORY: trajectory ? 1 : 0,
  });
  return trajectory ? { latents, trajectory: { points, energies } } : { latents };
}

/** Params that only chains use. */
const NO_CHAIN = { steps: 0, step_size: 0, noise: 0, seed_low: 0, seed_high: 0, stream: 0, low: 0, high: 0 };

/** Runs either kernel on dense latents, all parameters in one buffer, and `others`: one workgroup for each row. */
function run(
  file: string,
  network: EnergyNetwork,
  x: Tensor,
  others: readonly Tensor[],
  chain: typeof NO_CHAIN,
  overrides: Readonly<Record<string, number>> = {},
): void {
  const { latent, hidden, layers, slope } = network.config;
  const parameters = network.parameters();
  const packed = empty(x.engine, [parameters.reduce((sum, p) => sum + p.size, 0)]);
  let end = 0;
  const places = parameters.map((parameter) => {
    const place = end;
    copyInto(parameter, packed, parameter.strides, place);
    end += parameter.size;
    return place;
  });
  const rows = x.shape[0]!;
  const across = Math.min(rows, 32768);
  x.engine.run(file, {
    storages: [x, packed, ...others].map((t) => t.storage),
    overrides,
    consts: { D: latent, H: hidden, LAYERS: layers },
    params: {
      ...chain,
      weight: places.filter((_, i) => i % 2 === 0),
      bias: places.filter((_, i) => i % 2 === 1),
      slope,
      rows,
      offset: x.offset,
    },
    groups: [across, Math.ceil(rows / across)],
  });
}
