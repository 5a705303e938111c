import { FlatParameters } from '../nn/flat.ts';
import { launch1d, zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

const KIND = { sgd: 0, rmsprop: 1, adam: 2, adamw: 3 } as const;

/** Constants of an update rule; see shaders/optim/update.wgsl. */
interface Rule {
  readonly kind: keyof typeof KIND;
  readonly learningRate: number;
  /** μ of SGD and RMSprop, β₁ of Adam. */
  readonly momentum: number;
  /** α of RMSprop, β₂ of Adam. */
  readonly beta: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
}

/**
 * An update rule over all parameters in one dispatch. Making an optimiser moves the parameters into one flat buffer.
 * Its steps can be captured; the learning rate may change between replays.
 */
export class Optimizer {
  readonly flat: FlatParameters;
  /** State of the rule in the layout of `flat.values`: for checkpoints. */
  readonly state: { readonly momentum: Tensor; readonly squares: Tensor; readonly hyper: Tensor };
  readonly #rule: Rule;
  readonly #gradients: Tensor;
  #learningRate: number;

  constructor(parameters: readonly Tensor[], rule: Rule) {
    this.flat = new FlatParameters(parameters);
    this.#rule = rule;
    this.#learningRate = rule.learningRate;
    this.#gradients = this.flat.like();
    const { engine } = this.flat;
    this.state = {
      momentum: this.flat.like(),
      squares: this.flat.like(),
      hyper: engine.keep(zeros(engine, [4])),
    };
    this.state.hyper.write([rule.learningRate, 0, 0, 0]);
  }

  get learningRate(): number {
    return this.#learningRate;
  }

  set learningRate(rate: number) {
    this.#learningRate = rate;
    this.flat.engine.write(this.state.hyper.storage, 0, Float32Array.of(rate));
  }

  /** Updates the parameters; `gradients` in their order and shapes, as `grad(loss, parameters)` gives them. */
  step(gradients: readonly Tensor[]): void {
    const { engine, values } = this.flat;
    const rule = this.#rule;
    this.flat.pack(gradients, this.#gradients);
    if (rule.kind === 'adam' || rule.kind === 'adamw') {
      engine.run('optim/adam_correction.wgsl', {
        storages: [this.state.hyper.storage],
        params: {
          beta1: rule.momentum,
          one_minus_beta1: 1 - rule.momentum,
          beta2: rule.beta,
          one_minus_beta2: 1 - rule.beta,
        },
        groups: [1],
      });
    }
    launch1d(engine, 'optim/update.wgsl', values.size, {
      storages: [values, this.#gradients, this.state.momentum, this.state.squares, this.state.hyper].map(
        (t) => t.storage,
      ),
      overrides: { KIND: KIND[rule.kind] },
      params: {
        n: values.size,
        nesterov: rule.nesterov ? 1 : 0,
        momentum: rule.momentum,
        beta: rule.beta,
        one_minus_beta: 1 - rule.beta,
        one_minus_momentum: 1 - rule.momentum,
        epsilon: rule.epsilon,
        weight_decay: rule.weightDecay,
      },
    });
  }

  dispose(): void {
    this.#gradients.dispose();
    for (const tensor of Object.values(this.state)) tensor.dispose();
    this.flat.dispose();
  }
}

export interface SgdOptions {
  readonly learningRate: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
  readonly nesterov?: boolean;
}

/** Stochastic gradient descent with momentum, as torch.optim.SGD without dampening. */
export function sgd(parameters: readonly Tensor[], options: SgdOptions): Optimizer {
  return new Optimizer(parameters, {
    kind: 'sgd',
    learningRate: options.learningRate,
    momentum: options.momentum ?? 0,
    beta: 0,
    epsilon: 0,
    weightDecay: options.weightDecay ?? 0,
    nesterov: options.nesterov ?? false,
  });
}

export interface RmspropOptions {
  readonly learningRate: number;
  readonly alpha?: number;
  readonly epsilon?: number;
  readonly momentum?: number;
  readonly weightDecay?: number;
}

/** RMSprop as torch.optim.RMSprop (not centred): epsilon is added after the root. */
export function rmsprop(parameters: readonly Tensor[], options: RmspropOptions): Optimizer {
  return new Optimizer(parameters, {
    kind: 'rmsprop',
    learningRate: options.learningRate,
    momentum: options.momentum ?? 0,
    beta: options.alpha ?? 0.99,
    epsilon: options.epsilon ?? 1e-8,
    weightDecay: options.weightDecay ?? 0,
    nesterov: false,
  });
}

export interface AdamOptions {
  readonly learningRate: number;
  readonly betas?: readonly [number, number];
  readonly epsilon?: number;
  readonly weightDecay?: number;
}

function adamRule(kind: 'adam' | 'adamw', options: AdamOptions, weightDecay: number): Rule {
  const [momentum, beta] = options.betas ?? [0.9, 0.999];
  return {
    kind,
    learningRate: options.learningRate,
    momentum,
    beta,
    epsilon: options.epsilon ?? 1e-8,
    weightDecay: options.weightDecay ?? weightDecay,
    nesterov: false,
  };
}

/** Adam (Kingma and Ba, 2015) with weight decay added to the gradient, as torch.optim.Adam. */
export function adam(parameters: readonly Tensor[], options: AdamOptions): Optimizer {
  return new Optimizer(parameters, adamRule('adam', options, 0));
}

/** AdamW (Loshchilov and Hutter, 2019): decoupled weight decay, 0.01 by default. */
export function adamw(parameters: readonly Tensor[], options: AdamOptions): Optimizer {
  return new Optimizer(parameters, adamRule('adamw', options, 0.01));
}
