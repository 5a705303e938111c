import { EliError } from '../errors.ts';
import { copyInto } from '../ops/views.ts';
import { type Shape, sameShape, showShape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Values of named tensors on the CPU. */
export type StateDict = Record<string, { readonly shape: Shape; readonly data: Float32Array<ArrayBuffer> }>;

/**
 * A layer or network. Its tensor fields are its state: parameters where they require a gradient, else buffers (running
 * statistics, frozen weights); its module fields are its children.
 */
export abstract class Module {
  #training = true;
  /** Parameters that `freeze` turned into constants. */
  readonly #frozen = new Set<Tensor>();

  /** The output for an input, in the shapes of the layer or network. @throws EliError `SHAPE`, `DTYPE` */
  abstract forward(x: Tensor): Tensor;

  /** Whether layers that distinguish training (the default) from evaluation are in training mode. */
  get training(): boolean {
    return this.#training;
  }

  /** Sets the mode of this module and all its children. */
  train(training: boolean): void {
    this.#training = training;
    for (const [, child] of this.children()) child.train(training);
  }

  /** Gives layers that draw random numbers the training step, which is on the device (u32, one element). */
  useStep(step: Tensor): void {
    for (const [, child] of this.children()) child.useStep(step);
  }

  /** Child modules by name. */
  children(): [string, Module][] {
    return Object.entries(this).filter((entry): entry is [string, Module] => entry[1] instanceof Module);
  }

  /** Parameters and buffers by name: this module's own in the order of its fields, then its children's. */
  namedTensors(prefix = ''): [string, Tensor][] {
    const own = Object.entries(this).flatMap(([name, field]): [string, Tensor][] =>
      field instanceof Tensor ? [[prefix + name, field]] : [],
    );
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
   * @throws EliError `SHAPE` that lists all missing, unknown and misshaped ones, before anything is written.
   */
  loadStateDict(state: StateDict): void {
    const tensors = new Map(this.namedTensors());
    checkFit(new Map(Object.entries(state)), tensors);
    for (const [name, tensor] of tensors) tensor.write(state[name]!.data);
  }

  /** Overwrites all parameters and buffers with those of `other`, on the device. @throws EliError `SHAPE` as `loadStateDict`. */
  copyFrom(other: Module): void {
    checkFit(new Map(other.namedTensors()), new Map(this.namedTensors()));
    copyRows(other, this);
  }

  /**
   * Turns all parameters into constants, or back: a frozen one has no gradient and is not in `parameters()`, so optimisers
   * made later do not update it. The mode of the layers (`train`) does not change.
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

/** Overwrites the first rows of each tensor of `to` with the tensor of that name in `from`; returns `to`. */
export function copyRows<M extends Module>(from: Module, to: M): M {
  const tensors = new Map(from.namedTensors());
  for (const [name, tensor] of to.namedTensors()) copyInto(tensors.get(name)!, tensor);
  return to;
}

/** @throws EliError `SHAPE` that lists the missing, unknown and misshaped ones among the values of some tensors. */
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
 * A frozen copy of a module in evaluation mode, such as the previous model of an incremental learner, copied on the
 * device. `make` returns a new module of the same shape. The caller disposes the copy.
 */
export function frozenCopy<M extends Module>(module: Module, make: () => M): M {
  const copy = make();
  // The copy lives until it is disposed, also when it is made inside engine.tidy.
  for (const [, tensor] of copy.namedTensors()) tensor.engine.keep(tensor);
  copy.copyFrom(module);
  copy.freeze();
  copy.train(false);
  return copy;
}
