import type { Engine } from '../gpu/engine.ts';
import { add, mul } from '../ops/binary.ts';
import { matmul } from '../ops/matmul.ts';
import { compact, copyInto, slice, transpose } from '../ops/views.ts';
import { empty, zeros } from '../tensor/create.ts';
import { denseStrides } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { EnergyModelConfig, EnergyNetwork } from './network.ts';

/*
 * Chains and aligner iterations in the hidden layer, for energies with one hidden layer f(x) = w2 · φ(W1 x + b1) + b2.
 *
 * A Langevin step without noise is x ← x + ε W1ᵀ s with s = w2 ∘ φ'(h). It moves the pre-activations h = W1 x + b1 by
 * ε G s with G = W1 W1ᵀ, so a chain can run on h [H] alone, and its end is x + ε W1ᵀ Σ_t s_t: exact in real
 * arithmetic. A step costs H × H (less, as G s changes only where a sign of h flips) instead of 2 × H × d. A whole
 * iteration takes four dispatches: hidden_forward (h of both models' latents, and G), hidden_chain, the matrix product
 * W1ᵀ Σ_t s_t, hidden_update (gradient, RMSprop, moving average).
 *
 * Parameters are kept in one buffer: W1 transposed [d, H], b1 [H], w2 [H], b2 [1].
 */

/** Whether the kernels can run this energy here: one hidden layer of 32 or 64 units, and subgroups of one size. */
export function canRunHidden(engine: Engine, config: EnergyModelConfig): boolean {
  const { layers, hidden } = config;
  const units = hidden / (engine.subgroupLanes ?? 0);
  // The mask of flips has two words. The units of a lane lie in one of them, and their signs of two steps share a word.
  return layers === 1 && (hidden === 32 || hidden === 64) && Number.isInteger(units) && units <= 16;
}

/** Where each parameter begins in the buffer, and the buffer's size. */
function layoutOf({ latent, hidden }: EnergyModelConfig) {
  const bias = latent * hidden;
  const out = bias + hidden;
  const outBias = out + hidden;
  return { weight: 0, bias, out, outBias, size: outBias + 64 };
}

/** Copies W1, b1, w2, b2 (as a module has them) into the kernels' layout, or back. */
function exchange(
  config: EnergyModelConfig,
  parameters: readonly Tensor[],
  flat: Tensor,
  toFlat: boolean,
): void {
  const { weight, bias, out, outBias } = layoutOf(config);
  const { hidden } = config;
  const places: [number, number[]][] = [
    [weight, [1, hidden]],
    [bias, [1]],
    [out, [hidden, 1]],
    [outBias, [1]],
  ];
  for (const [i, [offset, strides]] of places.entries()) {
    const parameter = parameters[i]!;
    if (toFlat) {
      copyInto(parameter, flat, strides, offset);
    } else {
      const source = flat.view(parameter.shape, strides, flat.offset + offset);
      copyInto(source, parameter, denseStrides(parameter.shape), 0);
      source.dispose();
    }
  }
}

/**
 * Tile sizes: on software drivers large tiles save loads; a GPU wants many subgroups. Chains of long latents flip more
 * signs, and more of the same ones, so more of them run side by side.
 */
function tiles(engine: Engine, { hidden, latent }: EnergyModelConfig) {
  const { software } = engine.adapter;
  const long = latent >= 128;
  const sizes = { LANES: engine.subgroupLanes!, H: hidden };
  const units = hidden / sizes.LANES;
  // A lane loads its units in vectors of four where it has that many.
  const pack = units % 4 === 0 ? ({ Pack: 'vec4f', PACK: 4 } as const) : ({ Pack: 'f32', PACK: 1 } as const);
  return {
    lanes: sizes.LANES,
    forward: {
      TM: software ? (long ? 16 : 8) : 4,
      TN: Math.min(software ? 8 : 4, units),
      ...sizes,
      ...pack,
    },
    chain: { CHAINS: software ? (long ? 16 : 4) : 1, ...sizes, PACK: pack.PACK },
    update: { COLUMNS: software ? (long ? 16 : 8) : 4, ...sizes, ...pack },
  };
}

/** Chains in the hidden layer, and forward passes beside them. */
interface HiddenChains {
  /** Latents that the chains start from. */
  readonly current: Tensor;
  /** Latents whose pre-activations are computed too. */
  readonly previous?: Tensor;
  /** Which rows, by the counter; without it the first `batch` in order. */
  readonly order?: Tensor;
  /** u32 [2]: the iteration, and a copy for the kernels that run after it has been counted. */
  readonly counter: Tensor;
  /** Iteration k takes its mini-batch from `order`, and its loss goes here, at k modulo the size of this. */
  readonly losses?: Tensor;
  readonly batch: number;
  readonly steps: number;
  readonly stepSize: number;
}

/**
 * Runs the forward and chain kernels on the flat buffer `model`. `ends`: pre-activations of the chains' ends, then w2,
 * then those of the previous latents, [batch + 1 + (batch or 0), H]; `sums`: Σ_t s_t of each chain, transposed, [H, batch
 * rounded up to a multiple of 4].
 */
function runChains(config: EnergyModelConfig, model: Tensor, chains: HiddenChains) {
  const { engine } = model;
  const { hidden, latent, slope } = config;
  const { current, previous, order, counter, losses, batch, steps, stepSize } = chains;
  const previousRows = previous === undefined ? 0 : batch;
  const { weight, bias, out } = layoutOf(config);
  const { lanes, forward, chain } = tiles(engine, config);
  // Pre-activations of the current latents, then G.
  const z = empty(engine, [batch + hidden, hidden]);
  const ends = empty(engine, [batch + 1 + previousRows, hidden]);
  // Rows of whole vectors, for the matrix product that reads them.
  const pitch = 4 * Math.ceil(batch / 4);
  const sums = empty(engine, [hidden, pitch]);
  const tilesOf = (n: number): number => Math.ceil(n / forward.TM);
  const inputs = [current, previous ?? current, order ?? counter, counter];
  engine.run('ebm/hidden_forward.wgsl', {
    storages: [...inputs, model, model, z, ends].map((t) => t.storage),
    consts: forward,
    overrides: { GATHER: order === undefined ? 0 : 1 },
    params: {
      d: latent,
      current: batch,
      previous: previousRows,
      weight,
      bias,
      window: losses?.size ?? 1,
      lanes,
    },
    groups: [
      tilesOf(batch) + tilesOf(previousRows) + tilesOf(hidden),
      Math.ceil(hidden / (lanes * forward.TN)),
    ],
  });
  engine.run('ebm/hidden_chain.wgsl', {
    storages: [z, z, model, ends, sums, counter].map((t) => t.storage),
    consts: chain,
    params: { current: batch, pitch, steps, out, step_size: stepSize, slope, lanes, units: hidden / lanes },
    groups: [Math.ceil(batch / chain.CHAINS)],
  });
  return { ends, sums };
}

/**
 * Chains of `steps` steps without noise from `start` [n, d] for an energy of one hidden layer; returns their ends
 * [n, d]. Call inside a tidy scope.
 */
export function sampleHidden(model: EnergyNetwork, start: Tensor, steps: number, stepSize: number): Tensor {
  const { engine } = start;
  const { config } = model;
  const flat = empty(engine, [layoutOf(config).size]);
  const parameters = model.parameters();
  exchange(config, parameters, flat, true);
  const current = compact(start);
  const batch = start.shape[0]!;
  const counter = zeros(engine, [2], 'u32');
  const { sums } = runChains(config, flat, { current, counter, batch, steps, stepSize });
  const total = transpose(slice(sums, 1, 0, batch));
  return add(current, mul(matmul(total, parameters[0]!), stepSize));
}

/** What `HiddenState.iterate` needs: all of the chains, and the settings of RMSprop and the moving average. */
export interface HiddenIteration extends Required<HiddenChains> {
  readonly learningRate: number;
  readonly alpha: number;
  readonly epsilon: number;
  readonly emaDecay: number;
}

/** Parameters, squared gradients and moving average in the kernels' layout, and the iteration over them. */
export class HiddenState {
  readonly #config: EnergyModelConfig;
  /** The three sets in turn, and room for the gradients. */
  readonly #state: Tensor;

  constructor(engine: Engine, config: EnergyModelConfig) {
    this.#config = config;
    this.#state = engine.keep(zeros(engine, [4, layoutOf(config).size]));
  }

  /** Copies the three sets of W1, b1, w2, b2 in (`toKernels`) or out: model, squares, average. */
  exchange(sets: readonly (readonly Tensor[])[], toKernels: boolean): void {
    for (const [i, parameters] of sets.entries()) {
      const part = slice(this.#state, 0, i, i + 1);
      exchange(this.#config, parameters, part, toKernels);
      part.dispose();
    }
  }

  /** Records one aligner iteration: four dispatches. */
  iterate(options: HiddenIteration): void {
    const { current, previous, order, counter, losses, batch, stepSize, alpha, epsilon } = options;
    const { engine } = current;
    const { latent, hidden, slope } = this.#config;
    const { weight, bias, out, size } = layoutOf(this.#config);
    const { ends, sums } = runChains(this.#config, this.#state, options);
    const { lanes, update } = tiles(engine, this.#config);
    const descent = matmul(this.#state.view([latent, hidden], [hidden, 1], weight), sums);
    const columns = Math.ceil(latent / update.COLUMNS);
    engine.run('ebm/hidden_update.wgsl', {
      storages: [current, previous, order, counter, ends, descent, this.#state, losses].map((t) => t.storage),
      consts: update,
      params: {
        d: latent,
        batch,
        pitch: sums.shape[1]!,
        size,
        weight,
        bias,
        out,
        step_size: stepSize,
        slope,
        learning_rate: options.learningRate,
        alpha,
        epsilon,
        ema: options.emaDecay,
        window: losses.size,
        lanes,
      },
      groups: [1 + columns],
    });
  }

  dispose(): void {
    this.#state.dispose();
  }
}
