import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Initializer } from '../nn/init.ts';
import { Linear, leakyReluLayer, Sequential } from '../nn/layers.ts';
import { Module } from '../nn/module.ts';
import { neg } from '../ops/unary.ts';
import { contiguous, copyInto, reshape } from '../ops/views.ts';
import { empty } from '../tensor/create.ts';
import { showShape } from '../tensor/shape.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';

export interface EnergyModelConfig {
  /** Size d of a latent. */
  readonly latent: number;
  /** Units of each hidden layer. */
  readonly hidden: number;
  /** Hidden layers, 0 to 7; with 0 the energy is linear. */
  readonly layers: number;
  /** Slope of the leaky ReLU for negative values. */
  readonly slope: number;
}

/** Kernels know at most this many linear layers. */
export const MAX_LINEARS = 8;
/** Largest latent and hidden sizes of the fused kernels, by workgroup memory (16 KiB is guaranteed). */
const MAX_LATENT = 2048;

/**
 * An energy over latents: low energy means "like the latents of the previous model".
 *
 * The network is an MLP d → hidden → … → 1 with leaky ReLUs (Joseph et al., CVPR 2022, section 3.2). Its output f is
 * *minus* the energy, as in the original code: a Langevin step descends the energy, so it ascends f.
 */
export class EnergyModel extends Module {
  readonly config: EnergyModelConfig;
  readonly network: Sequential;

  /** @throws EliError `ARGUMENT` for sizes out of range. */
  constructor(init: Initializer, config: EnergyModelConfig) {
    super();
    const { latent, hidden, layers, slope } = config;
    for (const [name, value, low, high] of [
      ['latent', latent, 1, MAX_LATENT],
      ['hidden', hidden, 1, 512],
      ['layers', layers, 0, MAX_LINEARS - 1],
    ] as const) {
      if (!Number.isInteger(value) || value < low || value > high) {
        throw new EliError(
          'ARGUMENT',
          `EnergyModel: ${name} is ${value}, must be a whole number from ${low} to ${high}`,
        );
      }
    }
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
    return x.engine.tidy(() => this.#launchEnergy(x));
  }

  #launchEnergy(x: Tensor): { energy: Tensor; gradient: Tensor } {
    const dense = contiguous(x);
    const { engine } = x;
    const weights = this.packed(engine);
    const energy = empty(engine, [x.shape[0]!]);
    const gradient = empty(engine, x.shape);
    engine.run('ebm/energy.wgsl', {
      storages: [dense.storage, weights.storage, energy.storage, gradient.storage],
      consts: this.kernelConsts(),
      params: { ...NO_CHAIN, ...this.kernelParams(), rows: x.shape[0]!, offset: dense.offset },
      groups: rowGroups(x.shape[0]!),
    });
    return { energy, gradient };
  }

  /** @throws EliError `SHAPE` or `DTYPE` unless x is f32 [n, latent]. */
  checkLatents(x: Tensor): void {
    checkDType('EnergyModel', x, 'f32');
    if (x.rank !== 2 || x.shape[1] !== this.config.latent) {
      throw new EliError(
        'SHAPE',
        `EnergyModel: latents have shape ${showShape(x.shape)}, must be [n, ${this.config.latent}]`,
      );
    }
  }

  /** All parameters one after the other in one buffer, for the fused kernels. */
  packed(engine: Engine): Tensor {
    const parameters = this.parameters();
    const flat = empty(engine, [parameters.reduce((sum, p) => sum + p.size, 0)]);
    let at = 0;
    for (const parameter of parameters) {
      copyInto(parameter, flat, parameter.strides, at);
      at += parameter.size;
    }
    return flat;
  }

  kernelConsts(): { D: number; H: number; LAYERS: number } {
    const { latent, hidden, layers } = this.config;
    return { D: latent, H: hidden, LAYERS: layers };
  }

  /** Places of weights and biases in `packed`. */
  kernelParams(): { weight: number[]; bias: number[]; slope: number } {
    let at = 0;
    const places = this.parameters().map((parameter) => {
      at += parameter.size;
      return at - parameter.size;
    });
    return {
      weight: places.filter((_, i) => i % 2 === 0),
      bias: places.filter((_, i) => i % 2 === 1),
      slope: this.config.slope,
    };
  }
}

/** Params that only chains use. */
const NO_CHAIN = { steps: 0, step_size: 0, noise: 0, seed_low: 0, seed_high: 0, stream: 0, low: 0, high: 0 };

/** One workgroup a row, spread over x and y. */
export function rowGroups(rows: number): [number, number] {
  const x = Math.min(rows, 32768);
  return [x, Math.ceil(rows / x)];
}
