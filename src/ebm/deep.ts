import type { Engine } from '../gpu/engine.ts';
import { add, mul } from '../ops/binary.ts';
import { linear, matmul } from '../ops/matmul.ts';
import { concat, contiguous, reshape, transpose } from '../ops/views.ts';
import { empty } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { EnergyModelConfig, EnergyNetwork } from './network.ts';

/** Vectors of units that the kernel can hold in one lane. */
const MAX_PACKS = 4;

/** Neighbouring units that are loaded together, or undefined where a lane has an odd number. */
function packOf(units: number): { readonly Pack: 'vec2f' | 'vec4f'; readonly PACK: number } | undefined {
  if (units % 4 === 0) return { Pack: 'vec4f', PACK: 4 };
  return units % 2 === 0 ? { Pack: 'vec2f', PACK: 2 } : undefined;
}

/**
 * Whether `deep_chain.wgsl` can run chains of this energy in its first hidden layer: two layers or more, of 2, 4, 6, 8, 12
 * or 16 units for each lane of a subgroup.
 */
export function canRunDeep(engine: Engine, { layers, hidden }: EnergyModelConfig): boolean {
  const units = hidden / (engine.subgroupLanes ?? 0);
  const pack = packOf(units);
  return layers >= 2 && pack !== undefined && units / pack.PACK <= MAX_PACKS;
}

/**
 * Chains of `steps` steps without noise from `start` [n, d] for an energy of two or more hidden layers; returns their
 * ends [n, d]. Call inside a tidy scope.
 */
export function sampleDeep(model: EnergyNetwork, start: Tensor, steps: number, stepSize: number): Tensor {
  const { engine } = start;
  const { layers, hidden, slope } = model.config;
  const parameters = model.parameters();
  const weights = parameters.filter((_, i) => i % 2 === 0);
  const biases = parameters.filter((_, i) => i % 2 === 1);
  const first = weights[0]!;
  const between = weights.slice(1, layers);
  const matrices = concat(
    [
      ...between.map((w) => contiguous(transpose(w))),
      ...between.toReversed(),
      matmul(first, transpose(first)),
    ],
    0,
  );
  const rows = [...biases.slice(1, layers), weights[layers]!].map((vector) => reshape(vector, [1, hidden]));
  const lanes = engine.subgroupLanes!;
  // Large groups save loads on software drivers; a GPU needs many subgroups.
  const CHAINS = engine.adapter.software ? 8 : 2;
  const total = empty(engine, [start.shape[0]!, hidden]);
  engine.run('ebm/deep_chain.wgsl', {
    storages: [linear(start, first, biases[0]!), matrices, concat(rows, 0), total].map((t) => t.storage),
    consts: { H: hidden, LANES: lanes, CHAINS, ...packOf(hidden / lanes) },
    params: { rows: start.shape[0]!, steps, layers, step_size: stepSize, slope, lanes },
    groups: [Math.ceil(start.shape[0]! / CHAINS)],
  });
  return add(start, mul(matmul(total, first), stepSize));
}
