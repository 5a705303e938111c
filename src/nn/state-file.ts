import { type Safetensors, type SafetensorsInput, toFloat32 } from '../files/safetensors.ts';
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
