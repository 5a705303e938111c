import { noGrad } from '../autograd/tape.ts';
import { checkNumber } from '../errors.ts';
import { ALIGN, FlatParameters } from '../nn/flat.ts';
import { mul } from '../ops/binary.ts';
import { sum } from '../ops/reduce.ts';
import { launch1d, zeros } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LossScaler } from './loss-scale.ts';

/** The rules by their numbers in shaders/optim/update.wgsl. */
export const OPTIMIZER_CODES = { sgd: 0, rmsprop: 1, adam: 2, adamw: 3 } as const;

/** Constants of an update rule; see shaders/optim/update.wgsl. */
interface Rule extends CommonOptions {
  readonly kind: keyof typeof OPTIMIZER_CODES;
  /** μ of SGD and RMSprop, β₁ of Adam. */
  readonly momentum?: number;
  /** α of RMSprop, β₂ of Adam. */
  readonly beta?: number;
  readonly epsilon?: number;
  readonly nesterov?: boolean;
}

/** Parameters with their own settings, as PyTorch's parameter groups. */
export interface ParameterGroup {
  readonly parameters: readonly Tensor[];
  /** Instead of the optimiser's. */
  readonly weightDecay?: number;
  /** The group's learning rate is the optimiser's times this factor. Default 1. */
  readonly rateFactor?: number;
}

/** An infinite one limits nothing. */
const ABOVE_0 = { accepts: (v: number) => v > 0, words: 'above 0' };

/** What is learnt: parameters, or groups of them; gradients come in the same order, group after group. */
export type Learnt = readonly Tensor[] | readonly ParameterGroup[];

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
  /** (factor of the learning rate, weight decay) of each block of the flat buffer, if there are groups. */
  readonly #blocks: Tensor | undefined;
  #learningRate: number;

  constructor(learnt: Learnt, rule: Rule) {
    if (rule.clipNorm !== undefined) checkNumber('clipNorm', rule.clipNorm, ABOVE_0);
    const parameters = learnt.flatMap((item) => ('parameters' in item ? item.parameters : [item]));
    this.flat = new FlatParameters(parameters);
    this.#rule = rule;
    const groups = learnt.filter((item) => 'parameters' in item);
    this.#blocks = groups.length > 0 ? this.#blockTable(groups) : undefined;
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

  #blockTable(groups: readonly ParameterGroup[]): Tensor {
    const { engine, values } = this.flat;
    const table = groups.flatMap(
      ({ parameters, rateFactor = 1, weightDecay = this.#rule.weightDecay ?? 0 }) =>
        parameters.flatMap((p) => Array<number[]>(Math.ceil(p.size / ALIGN)).fill([rateFactor, weightDecay])),
    );
    const blocks = engine.keep(zeros(engine, [values.size / ALIGN, 2]));
    blocks.write(Float32Array.from(table.flat()));
    return blocks;
  }

  /** Learning rate of the next steps, captured ones too. */
  get learningRate(): number {
    return this.#learningRate;
  }

  /** Learning rate of the next steps, captured ones too. */
  set learningRate(rate: number) {
    this.#learningRate = rate;
    this.flat.engine.write(this.state.hyper.storage, 0, Float32Array.of(rate));
  }

  /**
   * Updates the parameters; `gradients` in their order and shapes, as `grad(loss, parameters)` gives them. With a
   * `scaler` they are those of the scaled loss; where one is not finite, nothing but the scale changes.
   */
  step(gradients: readonly Tensor[], scaler?: LossScaler): void {
    const { engine, values } = this.flat;
    const { kind, momentum = 0, beta = 0, epsilon = 0, weightDecay = 0, nesterov = false } = this.#rule;
    const clipped = this.#rule.clipNorm !== undefined || scaler !== undefined;
    this.flat.pack(gradients, this.#gradients);
    const SCALED = scaler === undefined ? 0 : 1;
    if (clipped) {
      // The padding between parameters is zero in the gradients too.
      const squares = engine.tidy(() => noGrad(engine, () => sum(mul(this.#gradients, this.#gradients))));
      this.#clip(squares, scaler);
      squares.dispose();
    }
    if (kind === 'adam' || kind === 'adamw') {
      engine.run('optim/adam_correction.wgsl', {
        storages: [this.state.hyper.storage],
        overrides: { SCALED },
        params: {
          beta1: momentum,
          one_minus_beta1: 1 - momentum,
          beta2: beta,
          one_minus_beta2: 1 - beta,
        },
        groups: [1],
      });
    }
    launch1d(engine, 'optim/update.wgsl', values.size / 4, {
      storages: [
        values,
        this.#gradients,
        this.state.momentum,
        this.state.squares,
        this.state.hyper,
        this.#blocks ?? this.state.hyper,
      ].map((t) => t.storage),
      overrides: {
        KIND: OPTIMIZER_CODES[kind],
        CLIP: clipped ? 1 : 0,
        GROUPED: this.#blocks === undefined ? 0 : 1,
        SCALED,
      },
      params: {
        n: values.size / 4,
        nesterov: nesterov ? 1 : 0,
        momentum,
        beta,
        one_minus_beta: 1 - beta,
        one_minus_momentum: 1 - momentum,
        epsilon,
        weight_decay: weightDecay,
      },
    });
  }

  /** Finds the factor of the gradients whose squares sum up to `squares`. */
  #clip(squares: Tensor, scaler: LossScaler | undefined): void {
    const { clipNorm } = this.#rule;
    const { engine } = this.flat;
    const { hyper } = this.state;
    if (scaler === undefined) {
      const storages = [squares.storage, hyper.storage];
      engine.run('optim/clip.wgsl', { storages, params: { limit: clipNorm! }, groups: [1] });
      return;
    }
    engine.run('optim/loss_scale.wgsl', {
      storages: [squares.storage, scaler.state.storage, hyper.storage],
      overrides: { CLIP: clipNorm === undefined ? 0 : 1 },
      params: { limit: clipNorm ?? 0, interval: scaler.interval },
      groups: [1],
    });
  }

  /** Frees the parameters' state (momenta, averages) and what the optimiser shares with captured steps. */
  dispose(): void {
    this.#gradients.dispose();
    this.#blocks?.dispose();
    for (const tensor of Object.values(this.state)) tensor.dispose();
    this.flat.dispose();
  }
}

/** Settings of every rule. */
interface CommonOptions {
  readonly learningRate: number;
  readonly weightDecay?: number;
  /** Largest norm of all gradients together; larger ones are scaled down to it. Default: no limit. */
  readonly clipNorm?: number;
}

/** Settings of `sgd`; the defaults are PyTorch's. */
export interface SgdOptions extends CommonOptions {
  readonly momentum?: number;
  readonly nesterov?: boolean;
}

/** Stochastic gradient descent with momentum, as torch.optim.SGD without dampening. */
export function sgd(learnt: Learnt, options: SgdOptions): Optimizer {
  return new Optimizer(learnt, { kind: 'sgd', ...options });
}

/** Settings of `rmsprop`; the defaults are PyTorch's. */
export interface RmspropOptions extends CommonOptions {
  readonly alpha?: number;
  readonly epsilon?: number;
  readonly momentum?: number;
}

/** RMSprop as torch.optim.RMSprop (not centred): epsilon is added after the root. */
export function rmsprop(learnt: Learnt, options: RmspropOptions): Optimizer {
  const { alpha: beta = 0.99, epsilon = 1e-8, ...rest } = options;
  return new Optimizer(learnt, { kind: 'rmsprop', beta, epsilon, ...rest });
}

/** Settings of `adam` and `adamw`; the defaults are PyTorch's. */
export interface AdamOptions extends CommonOptions {
  readonly betas?: readonly [number, number];
  readonly epsilon?: number;
}

function adamRule(kind: 'adam' | 'adamw', options: AdamOptions): Rule {
  const { betas: [momentum, beta] = [0.9, 0.999], epsilon = 1e-8, ...rest } = options;
  return { kind, momentum, beta, epsilon, ...rest };
}

/** Adam (Kingma and Ba, 2015) with weight decay added to the gradient, as torch.optim.Adam. */
export function adam(learnt: Learnt, options: AdamOptions): Optimizer {
  return new Optimizer(learnt, adamRule('adam', options));
}

/** AdamW (Loshchilov and Hutter, 2019): decoupled weight decay, 0.01 by default. */
export function adamw(learnt: Learnt, options: AdamOptions): Optimizer {
  return new Optimizer(learnt, adamRule('adamw', { ...options, weightDecay: options.weightDecay ?? 0.01 }));
}
