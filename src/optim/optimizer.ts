import { noGrad } from '../autograd/tape.ts';
import { checkNumber, checkOptions, EliError, nameOf } from '../errors.ts';
import { ALIGN, FlatParameters } from '../nn/flat.ts';
import { mul } from '../ops/binary.ts';
import { sum } from '../ops/reduce.ts';
import { launch1d, tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LossScaler } from './loss-scale.ts';

/** Numbers of the rules in shaders/optim/update.wgsl. */
export const OPTIMIZER_CODES = { sgd: 0, rmsprop: 1, adam: 2, adamw: 3 } as const;

/** Settings of every rule. */
interface CommonOptions {
  readonly learningRate: number;
  readonly weightDecay?: number;
  /** Largest norm of all gradients together; larger ones are scaled down to it. Default: no limit. */
  readonly clipNorm?: number;
}

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

/** Parameters with their own settings, like PyTorch's parameter groups. */
export interface ParameterGroup {
  readonly parameters: readonly Tensor[];
  /** Default: that of the optimiser. */
  readonly weightDecay?: number;
  /** The group's learning rate is the optimiser's times this factor. Default 1. */
  readonly rateFactor?: number;
}

/** Infinity is allowed: no limit. */
const ABOVE_0 = { accepts: (v: number) => v > 0, words: 'above 0' };

/** Parameters to learn, or groups of them; gradients come in the same order, group after group. */
export type Learnt = readonly Tensor[] | readonly ParameterGroup[];

/** What to do about an optimiser without options. */
const LEARNING_RATE = 'give at least { learningRate: 0.01 }';

/**
 * An update rule applied to all parameters in one dispatch; for that, the constructor moves them into one flat buffer.
 * Steps can be captured; the learning rate may change between replays.
 */
export class Optimizer {
  readonly flat: FlatParameters;
  /** State for checkpoints; momentum and squares have the layout of `flat.values`. */
  readonly state: { readonly momentum: Tensor; readonly squares: Tensor; readonly hyper: Tensor };
  readonly #rule: Rule;
  readonly #gradients: Tensor;
  /** Learning rate factor and weight decay of each block of the flat buffer, if there are groups. */
  readonly #blocks: Tensor | undefined;
  #learningRate: number;

  constructor(learnt: Learnt, rule: Rule) {
    if (rule.clipNorm !== undefined) checkNumber('clipNorm', rule.clipNorm, ABOVE_0);
    if (!Array.isArray(learnt)) {
      throw new EliError('ARGUMENT', `the parameters of an optimiser are ${nameOf(learnt)}`, {
        hint: 'give an array: model.parameters()',
      });
    }
    const parameters = learnt.flatMap((item) => ('parameters' in item ? item.parameters : [item]));
    this.flat = new FlatParameters(parameters);
    this.#rule = rule;
    const groups = learnt.filter((item) => 'parameters' in item);
    this.#blocks = groups.length > 0 ? this.#blockTable(groups) : undefined;
    this.#learningRate = rule.learningRate;
    this.#gradients = this.flat.like();
    const [momentum, squares] = [this.flat.like(), this.flat.like()];
    const { engine } = this.flat;
    const hyper = engine.keep(tensor(engine, [rule.learningRate, 0, 0, 0]));
    this.state = { momentum, squares, hyper };
  }

  #blockTable(groups: readonly ParameterGroup[]): Tensor {
    const { engine } = this.flat;
    const table = groups.flatMap(
      ({ parameters, rateFactor = 1, weightDecay = this.#rule.weightDecay ?? 0 }) =>
        parameters.flatMap((p) => Array<number[]>(Math.ceil(p.size / ALIGN)).fill([rateFactor, weightDecay])),
    );
    return engine.keep(tensor(engine, table.flat(), [table.length, 2]));
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
   * Updates the parameters; `gradients` has their order and shapes, as `grad(loss, parameters)` returns them. With a
   * `scaler` they are gradients of the scaled loss; unless all are finite, only the scale changes.
   */
  step(gradients: readonly Tensor[], scaler?: LossScaler): void {
    const { engine, values } = this.flat;
    const { hyper, squares } = this.state;
    const { kind, momentum = 0, beta = 0, epsilon = 0, weightDecay = 0, nesterov = false } = this.#rule;
    const clipped = this.#rule.clipNorm !== undefined || scaler !== undefined;
    const SCALED = scaler === undefined ? 0 : 1;
    this.flat.pack(gradients, this.#gradients);
    if (clipped) this.#computeFactor(scaler);
    if (kind === 'adam' || kind === 'adamw') {
      engine.run('optim/adam_correction.wgsl', {
        storages: [hyper.storage],
        overrides: { SCALED },
        params: { beta1: momentum, one_minus_beta1: 1 - momentum, beta2: beta, one_minus_beta2: 1 - beta },
        groups: [1],
      });
    }
    const tensors = [values, this.#gradients, this.state.momentum, squares, hyper, this.#blocks ?? hyper];
    launch1d(engine, 'optim/update.wgsl', values.size / 4, {
      storages: tensors.map((t) => t.storage),
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

  /** Computes the factor that limits the norm of the gradients and undoes the loss scale. */
  #computeFactor(scaler: LossScaler | undefined): void {
    const { clipNorm } = this.#rule;
    const { engine } = this.flat;
    const { hyper } = this.state;
    // The padding between parameters is zero in the gradients too.
    const squares = engine.tidy(() => noGrad(engine, () => sum(mul(this.#gradients, this.#gradients))));
    if (scaler === undefined) {
      const storages = [squares.storage, hyper.storage];
      engine.run('optim/clip.wgsl', { storages, params: { limit: clipNorm! }, groups: [1] });
    } else {
      engine.run('optim/loss_scale.wgsl', {
        storages: [squares.storage, scaler.state.storage, hyper.storage],
        overrides: { CLIP: clipNorm === undefined ? 0 : 1 },
        params: { limit: clipNorm ?? 0, interval: scaler.interval },
        groups: [1],
      });
    }
    squares.dispose();
  }

  /** Frees the state; the parameters live until they are disposed. */
  dispose(): void {
    this.#gradients.dispose();
    this.#blocks?.dispose();
    for (const tensor of Object.values(this.state)) tensor.dispose();
    this.flat.dispose();
  }
}

/** Settings of `sgd`; the defaults are PyTorch's. */
export interface SgdOptions extends CommonOptions {
  readonly momentum?: number;
  readonly nesterov?: boolean;
}

/** Stochastic gradient descent with momentum, as torch.optim.SGD without dampening. */
export function sgd(learnt: Learnt, options: SgdOptions): Optimizer {
  checkOptions('sgd', options, LEARNING_RATE);
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
  checkOptions('rmsprop', options, LEARNING_RATE);
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
  checkOptions('adam', options, LEARNING_RATE);
  return new Optimizer(learnt, adamRule('adam', options));
}

/** AdamW (Loshchilov and Hutter, 2019): decoupled weight decay, 0.01 by default. */
export function adamw(learnt: Learnt, options: AdamOptions): Optimizer {
  checkOptions('adamw', options, LEARNING_RATE);
  return new Optimizer(learnt, adamRule('adamw', { ...options, weightDecay: options.weightDecay ?? 0.01 }));
}
