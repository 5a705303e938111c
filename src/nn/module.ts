import { EliError } from '../errors.ts';
import { copyInto } from '../ops/views.ts';
import { type Shape, sameShape, showShape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Values of named parameters, off the device. */
export type StateDict = Record<string, { readonly shape: Shape; readonly data: Float32Array<ArrayBuffer> }>;

/**
 * A layer or network. Its tensor fields are its state: parameters where they require a gradient, else buffers (running
 * statistics, frozen weights); its module fields are its children.
 */
export abstract class Module {
  #training = true;
  /** Parameters that `freeze` made constants of. */
  readonly #frozen = new Set<Tensor>();

  /** The output for an input; shapes are those of the layer or network. @throws EliError `SHAPE`, `DTYPE` */
  abstract forward(x: Tensor): Tensor;

  /** Whether layers that differ behave as in training (the default) or as in evaluation. */
  get training(): boolean {
    return this.#training;
  }

  /** Sets the mode of this module and all its children. */
  train(training: boolean): void {
    this.#training = training;
    for (const [, child] of this.children()) child.train(training);
  }

  /** Gives the layers that draw random numbers the step on the device (u32, one element) that they draw by. */
  useStep(step: Tensor): void {
    for (const [, child] of this.children()) child.useStep(step);
  }

  /** The modules that this one is made of, by name. */
  children(): [string, Module][] {
    return Object.entries(this).filter((entry): entry is [string, Module] => entry[1] instanceof Module);
  }

  /** Parameters and buffers by name: this module's own in the order of its fields, then its children's. */
  namedTensors(prefix = ''): [string, Tensor][] {
    const own = Object.entries(this)
      .filter((entry): entry is [string, Tensor] => entry[1] instanceof Tensor)
      .map(([name, tensor]): [string, Tensor] => [prefix + name, tensor]);
    return [...own, ...this.children().flatMap(([name, child]) => child.namedTensors(`${prefix}${name}.`))];
  }

  /** Parameters by name: `weight`, `0.weight`, `head.bias`, … */
  namedParameters(prefix = ''): [string, Tensor][] {
    return this.namedTensors(prefix).filter(([, tensor]) => tensor.requiresGrad);
  }

  /** Parameters: this module's own in the order of its fields, then its children's. */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  /** Reads all parameters and buffers from the device. */
  async stateDict(): Promise<StateDict> {
    const tensors = this.namedTensors();
    const values = await Promise.all(tensors.map(([, tensor]) => tensor.readFloats()));
    return Object.fromEntries(tensors.map(([name, { shape }], i) => [name, { shape, data: values[i]! }]));
  }

  /**
   * Overwrites all parameters and buffers.
   * @throws EliError `SHAPE` that lists every missing, unknown and misshaped one; nothing is written then.
   */
  loadStateDict(state: StateDict): void {
    const tensors = new Map(this.namedTensors());
    checkFit(new Map(Object.entries(state)), tensors);
    for (const [name, tensor] of tensors) tensor.write(state[name]!.data);
  }

  /** Overwrites all parameters and buffers with those of `other`, on the device. @throws EliError `SHAPE` as `loadStateDict`. */
  copyFrom(other: Module): void {
    const from = new Map(other.namedTensors());
    const to = new Map(this.namedTensors());
    checkFit(from, to);
    for (const [name, tensor] of to) copyInto(from.get(name)!, tensor, tensor.strides, 0);
  }

  /**
   * Makes constants of all parameters, or parameters again: a frozen one has no gradient and no place in
   * `parameters()`, so that optimisers made after this leave it alone. Layers stay in their mode (`train`).
   */
  freeze(frozen = true): void {
    if (frozen) {
      for (const parameter of this.parameters()) {
        this.#frozen.add(parameter);
        parameter.requiresGrad = false;
      }
      return;
    }
    for (const parameter of this.#frozen) parameter.requiresGrad = true;
    this.#frozen.clear();
    for (const [, child] of this.children()) child.freeze(false);
  }

  /** Frees all parameters and buffers. */
  dispose(): void {
    for (const [, tensor] of this.namedTensors()) tensor.dispose();
  }
}

/** @throws EliError `SHAPE` that lists what is missing, unknown and misshaped among the values for some tensors. */
function checkFit(
  values: ReadonlyMap<string, { readonly shape: Shape }>,
  tensors: ReadonlyMap<string, Tensor>,
): void {
  const problems: string[] = [];
  for (const [name, tensor] of tensors) {
    const value = values.get(name);
    if (value === undefined) problems.push(`missing: ${name} ${showShape(tensor.shape)}`);
    else if (!sameShape(value.shape, tensor.shape)) {
      problems.push(`${name}: is ${showShape(value.shape)}, should be ${showShape(tensor.shape)}`);
    }
  }
  for (const name of values.keys()) if (!tensors.has(name)) problems.push(`unknown: ${name}`);
  if (problems.length > 0)
    throw new EliError('SHAPE', `the state does not fit the module:\n  ${problems.join('\n  ')}`);
}

/**
 * A frozen copy of a module as it stands, in evaluation mode, made on the device: the previous model of an incremental
 * learner. `make` makes a module of the same shape; it belongs to the caller.
 */
export function frozenCopy<M extends Module>(module: Module, make: () => M): M {
  const copy = make();
  const { engine } = copy.namedTensors()[0]![1];
  // Parameters live until they are disposed of, also when the copy is made inside engine.tidy.
  for (const [, tensor] of copy.namedTensors()) engine.keep(tensor);
  copy.copyFrom(module);
  copy.freeze();
  copy.train(false);
  return copy;
}
