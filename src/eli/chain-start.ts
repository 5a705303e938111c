import { EliError } from '../errors.ts';
import type { StateDict } from '../nn/module.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { MeanShift, RidgeMap } from './controls.ts';
import type { LatentPairs } from './fit.ts';

/**
 * Where chains start: at the current model's latents (the original), or at what a closed form that is fitted to the pairs
 * makes of them. The original does not use the pairing.
 */
export const STARTS = ['current', 'mean-shift', 'ridge'] as const;
export type Start = (typeof STARTS)[number];

/** The map from latents to the starts of their chains; nothing for `current`. */
export type ChainStart = RidgeMap | MeanShift | undefined;

/** Fits the map to latents of the same inputs by both models: current-task data alone. */
export async function fitStart(start: Start, pairs: LatentPairs): Promise<ChainStart> {
  if (start === 'current') return undefined;
  return start === 'ridge' ? RidgeMap.fit(pairs) : MeanShift.fit(pairs);
}

/** Latents [n, d] → starts of their chains [n, d]; the same tensor where they start as they are. */
export function startOf(map: ChainStart, latents: Tensor): Tensor {
  return map === undefined ? latents : map.align(latents);
}

export function startState(map: ChainStart): StateDict {
  if (map === undefined) return {};
  const { latent: d } = map;
  if (map instanceof MeanShift) return { shift: { shape: [d], data: map.shift } };
  return { weight: { shape: [d, d], data: map.weight }, bias: { shape: [d], data: map.bias } };
}

/** The map that `startState` gave. @throws EliError `FORMAT` when it does not fit the option or the latent size. */
export function startFrom(start: Start, state: StateDict, d: number): ChainStart {
  const take = (name: string, shape: readonly number[]): Float32Array<ArrayBuffer> => {
    const value = state[name];
    if (value === undefined || value.shape.join() !== shape.join()) {
      throw new EliError(
        'FORMAT',
        `chains start at "${start}", which needs start.${name} of shape [${shape}]`,
      );
    }
    return value.data;
  };
  if (start === 'current') return undefined;
  if (start === 'mean-shift') return new MeanShift(take('shift', [d]));
  return new RidgeMap(take('weight', [d, d]), take('bias', [d]));
}
