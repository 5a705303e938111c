import { checkWhole } from '../errors.ts';
import type { Initializer } from '../nn/init.ts';
import { Linear, leakyReluLayer, Sequential } from '../nn/layers.ts';
import { Module } from '../nn/module.ts';
import { neg } from '../ops/unary.ts';
import { reshape } from '../ops/views.ts';
import { expectShape } from '../tensor/shape.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';
import type { Chains, LangevinChain, SamplerVariant } from './chains.ts';
import type { Energy } from './energy.ts';
import { fusedEnergy } from './fused.ts';
import { runChains } from './model-chains.ts';
import type { EnergyModelConfig } from './network.ts';

/** Kernels know at most this many linear layers. */
const MAX_LINEARS = 8;
/** Largest latent and hidden sizes of the fused kernels, by workgroup memory (16 KiB is guaranteed). */
const MAX_LATENT = 2048;

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
    const { latent, hidden, layers, slope } = config;
    checkWhole('EnergyModel: latent', latent, 1, MAX_LATENT);
    checkWhole('EnergyModel: hidden', hidden, 1, 512);
    checkWhole('EnergyModel: layers', layers, 0, MAX_LINEARS - 1);
    this.config = config;
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

  /** Minus the energy, made of differentiable ops: latents [n, d] → f [n]. */
  forward(x: Tensor): Tensor {
    this.checkLatents(x);
    return reshape(this.network.forward(x), [x.shape[0]!]);
  }

  /** Energy, made of differentiable ops: latents [n, d] → [n]. */
  energy(x: Tensor): Tensor {
    return neg(this.forward(x));
  }

  /**
   * Energy and its gradient with respect to the latents by one fused kernel, not on the tape: latents [n, d] →
   * energy [n], gradient [n, d].
   */
  energyAndGradient(x: Tensor): { energy: Tensor; gradient: Tensor } {
    this.checkLatents(x);
    return x.engine.tidy(() => fusedEnergy(this, x));
  }

  /**
   * Chains by the kernels of this model, off the tape, or undefined where ops are faster.
   * @throws EliError `ARGUMENT` when the variant cannot run such a chain.
   */
  chains(start: Tensor, chain: LangevinChain, variant: SamplerVariant): Chains | undefined {
    this.checkLatents(start);
    return runChains(this, start, chain, variant);
  }

  /** @throws EliError `SHAPE` or `DTYPE` unless x is f32 [n, latent]. */
  checkLatents(x: Tensor): void {
    checkDType('EnergyModel', x, 'f32');
    expectShape('EnergyModel: latents', x.shape, ['n', this.config.latent]);
  }
}
