import { EliError } from '../errors.ts';
import { type Shape, sameShape, showShape } from '../tensor/shape.ts';
import { Tensor } from '../tensor/tensor.ts';

/** Values of named parameters, off the device. */
export type StateDict = Record<string, { readonly shape: Shape; readonly data: Float32Array<ArrayBuffer> }>;

/** A layer or network: its tensors with `requiresGrad` are its parameters, its modules its children. */
export abstract class Module {
  abstract forward(x: Tensor): Tensor;

  /** Parameters by name, in the order of the fields: `weight`, `0.weight`, `head.bias`, … */
  namedParameters(prefix = ''): [string, Tensor][] {
    return Object.entries(this).flatMap(([name, value]): [string, Tensor][] => {
      if (value instanceof Tensor) return value.requiresGrad ? [[prefix + name, value]] : [];
      if (value instanceof Module) return value.namedParameters(`${prefix}${name}.`);
      return [];
    });
  }

  parameters(): Tensor[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  /** Reads all parameters from the device. */
  async stateDict(): Promise<StateDict> {
    const state: StateDict = {};
    for (const [name, parameter] of this.namedParameters()) {
      state[name] = { shape: parameter.shape, data: await parameter.readFloats() };
    }
    return state;
  }

  /** Overwrites all parameters. @throws EliError `SHAPE` that lists every missing, unknown and misshaped one. */
  loadStateDict(state: StateDict): void {
    const parameters = new Map(this.namedParameters());
    const problems: string[] = [];
    for (const [name, parameter] of parameters) {
      const value = state[name];
      if (value === undefined) problems.push(`missing: ${name} ${showShape(parameter.shape)}`);
      else if (!sameShape(value.shape, parameter.shape)) {
        problems.push(`${name}: is ${showShape(value.shape)}, should be ${showShape(parameter.shape)}`);
      }
    }
    for (const name of Object.keys(state)) if (!parameters.has(name)) problems.push(`unknown: ${name}`);
    if (problems.length > 0)
      throw new EliError('SHAPE', `the state does not fit the module:\n  ${problems.join('\n  ')}`);
    for (const [name, parameter] of parameters) parameter.write(state[name]!.data);
  }

  dispose(): void {
    for (const parameter of this.parameters()) parameter.dispose();
  }
}
