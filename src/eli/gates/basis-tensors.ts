import { EliError } from '../../errors.ts';
import { type SafetensorsEntry, type SafetensorsInput, toFloat32 } from '../../files/safetensors.ts';
import type { Basis } from './basis.ts';

export function basisToTensors(basis: Basis | undefined): Record<string, SafetensorsInput> {
  if (basis === undefined) return {};
  const p = basis.mean.length;
  return {
    'basis.mean': { dtype: 'F32', shape: [p], data: basis.mean },
    'basis.columns': { dtype: 'F32', shape: [p, basis.columns.length / p], data: basis.columns },
  };
}

/** @throws EliError `FORMAT` when half of it is missing or the halves do not fit */
export function basisFromTensors(tensors: Readonly<Record<string, SafetensorsInput>>): Basis | undefined {
  const mean = tensors['basis.mean'];
  const columns = tensors['basis.columns'];
  if (mean === undefined && columns === undefined) return undefined;
  if (mean === undefined || columns === undefined || columns.shape[0] !== mean.shape[0]) {
    throw new EliError('FORMAT', "the gate's basis.mean and basis.columns do not fit each other");
  }
  return {
    mean: toFloat32(mean as SafetensorsEntry),
    columns: toFloat32(columns as SafetensorsEntry),
  };
}
