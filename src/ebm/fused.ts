import { contiguous, copyInto } from '../ops/views.ts';
import { empty, tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain } from './chains.ts';
import type { EnergyNetwork } from './network.ts';

/*
 * Energies and whole chains of networks of any size by one workgroup a row, with latent and activations in workgroup
 * memory (shaders/lib/energy.wgsl).
 */

/** Energy [n] and its gradient [n, d] of latents [n, d], off the tape. Call inside a tidy scope. */
export function fusedEnergy(network: EnergyNetwork, x: Tensor): { energy: Tensor; gradient: Tensor } {
  const dense = contiguous(x);
  const { engine } = x;
  const energy = empty(engine, [x.shape[0]!]);
  const gradient = empty(engine, x.shape);
  engine.run('ebm/energy.wgsl', {
    storages: [dense, packed(network, dense), energy, gradient].map((t) => t.storage),
    ...launchOf(network, dense, NO_CHAIN),
  });
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
  const schedule = scheduled ? tensor(engine, interleave(stepSizes, sigmas)) : dense;
  const seed = random?.seed ?? 0;
  engine.run('ebm/langevin.wgsl', {
    storages: [dense, packed(network, dense), schedule, latents, points, energies].map((t) => t.storage),
    overrides: {
      SCHEDULED: scheduled ? 1 : 0,
      NOISE: sigmas.some((v) => v !== 0) ? 1 : 0,
      CLAMP: clamp === undefined ? 0 : 1,
      TRAJECTORY: trajectory ? 1 : 0,
    },
    ...launchOf(network, dense, {
      steps,
      step_size: stepSizes[0] ?? 0,
      noise: sigmas[0] ?? 0,
      seed_low: seed >>> 0,
      seed_high: Math.floor(seed / 2 ** 32),
      stream: random?.stream ?? 0,
      low: clamp?.[0] ?? 0,
      high: clamp?.[1] ?? 0,
    }),
  });
  return trajectory ? { latents, trajectory: { points, energies } } : { latents };
}

/** Params that only chains use. */
const NO_CHAIN = { steps: 0, step_size: 0, noise: 0, seed_low: 0, seed_high: 0, stream: 0, low: 0, high: 0 };

/** Constants, params and workgroups of either kernel: one workgroup a row, spread over x and y. */
function launchOf(network: EnergyNetwork, x: Tensor, chain: typeof NO_CHAIN) {
  const { latent, hidden, layers, slope } = network.config;
  let at = 0;
  const places = network.parameters().map((parameter) => {
    at += parameter.size;
    return at - parameter.size;
  });
  const rows = x.shape[0]!;
  const across = Math.min(rows, 32768);
  return {
    consts: { D: latent, H: hidden, LAYERS: layers },
    params: {
      ...chain,
      weight: places.filter((_, i) => i % 2 === 0),
      bias: places.filter((_, i) => i % 2 === 1),
      slope,
      rows,
      offset: x.offset,
    },
    groups: [across, Math.ceil(rows / across)] as [number, number],
  };
}

/** All parameters one after the other in one buffer. */
function packed(network: EnergyNetwork, { engine }: Tensor): Tensor {
  const parameters = network.parameters();
  const flat = empty(engine, [parameters.reduce((sum, p) => sum + p.size, 0)]);
  let at = 0;
  for (const parameter of parameters) {
    copyInto(parameter, flat, parameter.strides, at);
    at += parameter.size;
  }
  return flat;
}

function interleave(stepSizes: Float64Array, sigmas: Float64Array): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: 2 * stepSizes.length }, (_, i) =>
    i % 2 === 0 ? stepSizes[i / 2]! : sigmas[(i - 1) / 2]!,
  );
}
