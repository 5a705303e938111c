import { EliError } from '../errors.ts';
import { type Safetensors, type SafetensorsInput, toFloat32 } from '../files/safetensors.ts';
import { type Shape, sameShape, showShape } from '../tensor/shape.ts';
import type { StateDict } from './module.ts';

/** A state as tensors of a safetensors file: f32, each name after `prefix`. */
export function stateToTensors(state: StateDict, prefix: string): Record<string, SafetensorsInput> {
  return Object.fromEntries(
    Object.entries(state).map(([name, { shape, data }]) => [prefix + name, { dtype: 'F32', shape, data }]),
  );
}

/** The state of the tensors whose names start with `prefix`; empty if there are none. */
export function stateFromTensors(tensors: Safetensors['tensors'], prefix: string): StateDict {
  return Object.fromEntries(
    Object.entries(tensors)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, entry]) => [name.slice(prefix.length), { shape: entry.shape, data: toFloat32(entry) }]),
  );
}

/** Values of a tensor of `owner`'s state, of any shape by default. @throws EliError `FORMAT` if missing or misshaped */
export function stateTensor(
  owner: string,
  state: StateDict,
  name: string,
  shape?: Shape,
): Float32Array<ArrayBuffer> {
  const found = state[name];
  if (found === undefined) throw new EliError('FORMAT', `tensor ${name} of the ${owner} is missing`);
  if (shape === undefined || sameShape(found.shape, shape)) return found.data;
  throw new EliError(
    'FORMAT',
    `tensor ${name} of the ${owner} has shape ${showShape(found.shape)}, must be ${showShape(shape)}`,
  );
}
