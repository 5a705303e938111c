import { noGrad } from '../autograd/tape.ts';
import { checkWhole, EliError } from '../errors.ts';
import type { Initializer } from '../nn/init.ts';
import { Linear, leakyReluLayer, Sequential } from '../nn/layers.ts';
import { Module } from '../nn/module.ts';
import { neg } from '../ops/unary.ts';
import { copyInto, reshape, slice } from '../ops/views.ts';
import { empty } from '../tensor/create.ts';
import { expectShape } from '../tensor/shape.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain, SamplerVariant } from './chains.ts';
import { canRunDeep, sampleDeep } from './deep.ts';
import type { Energy } from './energy.ts';
import { fusedChains, fusedEnergy } from './fused.ts';
import { canRunHidden, sampleHidden } from './hidden.ts';
import { type EnergyModelConfig, SIZES } from './network.ts';

/**
 * An energy over latents: low energy means "like the latents of the previous model".
 *
 * The network is an MLP d → hidden → … → 1 with leaky ReLUs (Joseph et al., CVPR 2022, section 3.2). Its output f is
 * *minus* the energy, as in the original code: a Langevin step descends the energy, so it ascends f.
 */
export class EnergyModel extends Module implements Energy {
  readonly config: EnergyModelConfig;
  readonly network: Sequential;

  /** @throws EliError `ARGUMENT` for sizes out of range. */
  constructor(init: Initializer, config: EnergyModelConfig) {
    super();
    for (const name of ['latent', 'hidden', 'layers'] as const) {
      checkWhole(`EnergyModel: ${name}`, config[name], SIZES[name].from, SIZES[name].to);
    }
    this.config = config;
    const { latent, hidden, layers, slope } = config;
    const modules: Module[] = [];
    for (let layer = 0; layer < layers; layer++) {
      modules.push(new Linear(init, layer === 0 ? latent : hidden, hidden), leakyReluLayer(slope));
    }
    modules.push(new Linear(init, layers === 0 ? latent : hidden, 1));
    this.network = new Sequential(modules);
  }

  override namedTensors(prefix = ''): [string, Tensor][] {
    return this.network.namedTensors(prefix);
  }

  /** Minus the energy, on the tape: latents [n, d] → f [n]. */
  forward(x: Tensor): Tensor {
    this.checkLatents(x);
    return reshape(this.network.forward(x), [x.shape[0]!]);
  }

  /** Energy, on the tape: latents [n, d] → [n]. */
  energy(x: Tensor): Tensor {
    return neg(this.forward(x));
  }

  /** Energy [n] of latents [n, d] and its gradient with respect to them [n, d] by one fused kernel, off the tape. */
  energyAndGradient(x: Tensor): { energy: Tensor; gradient: Tensor } {
    this.checkLatents(x);
    return x.engine.tidy(() => fusedEnergy(this, x));
  }

  /**
   * Chains by the kernels of this model, off the tape, or undefined for plain ops. `auto` takes, in this order:
   * 1. kernels that move pre-activations of the first hidden layer instead of latents: the cost of a step does not
   *    depend on the size of the latents. They take one step size, and no noise, clamp or trajectory.
   * 2. on software drivers plain ops: the kernel of 3 relies on barriers, with which these take 5 to 20 times as long.
   * 3. the kernel that runs all steps of a chain in one workgroup: one dispatch, any options.
   * @throws EliError `ARGUMENT` for `hidden` where its kernels cannot run the chain.
   */
  chains(start: Tensor, chain: LangevinChain, variant: SamplerVariant): Chains | undefined {
    this.checkLatents(start);
    const { engine } = start;
    const inHidden = isBare(chain) ? this.#hiddenKernels(start) : undefined;
    if (variant === 'hidden' && inHidden === undefined) {
      throw new EliError(
        'ARGUMENT',
        'sample: the hidden-layer variant needs one hidden layer of 32 or 64 units, or more of 2, 4, 6, 8, 12 or 16 units for each lane of a subgroup, a constant step size, no noise, clamp or trajectory, and subgroups of one size',
        { hint: 'use variant "auto"' },
      );
    }
    if (inHidden !== undefined && (variant === 'hidden' || variant === 'auto')) {
      const { steps, stepSizes } = chain;
      const run = (part: Tensor): Tensor => inHidden(this, part, steps, stepSizes[0]!);
      return { latents: noGrad(engine, () => inChunks(start, run)) };
    }
    if (variant === 'plain' || (variant === 'auto' && engine.adapter.software)) return undefined;
    return fusedChains(this, start, chain);
  }

  #hiddenKernels({ engine }: Tensor): typeof sampleHidden | undefined {
    if (canRunHidden(engine, this.config)) return sampleHidden;
    return canRunDeep(engine, this.config) ? sampleDeep : undefined;
  }

  /** @throws EliError `SHAPE` or `DTYPE` unless x is f32 [n, latent]. */
  checkLatents(x: Tensor): void {
    checkDType('EnergyModel', x, 'f32');
    expectShape('EnergyModel: latents', x.shape, ['n', this.config.latent]);
  }
}

/** Whether a chain is one step size and nothing else. */
function isBare({ steps, stepSizes, sigmas, clamp, trajectory }: LangevinChain): boolean {
  const constant = steps > 0 && stepSizes.every((v) => v === stepSizes[0]) && sigmas.every((v) => v === 0);
  return constant && clamp === undefined && !trajectory;
}

/** Rows that one launch takes, so that buffers and workgroup counts stay within every adapter's limits. */
const CHUNK_ROWS = 16384;

/** Applies `fn`, [n, d] → [n, d], to that many rows at a time. */
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
