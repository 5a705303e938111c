import { EliError } from '../../errors.ts';
import { type SafetensorsEntry, type SafetensorsInput, toFloat32 } from '../../files/safetensors.ts';
import type { Basis } from './basis.ts';
import { type ClassMoments, dimensionsOf } from './gaussians.ts';

export function basisToTensors(basis: Basis | undefined): Record<string, SafetensorsInput> {
  if (basis === undefined) return {};
  const p = basis.mean.length;
  return {
    'basis.mean': { dtype: 'F32', shape: [p], data: basis.mean },
    'basis.columns': { dtype: 'F32', shape: [p, basis.columns.length / p], data: basis.columns },
  };
}

/** @throws EliError `FORMAT` when half of it is missing, or it does not lead to where the moments are */
export function basisFromTensors(
  tensors: Readonly<Record<string, SafetensorsInput>>,
  moments: ClassMoments,
): Basis | undefined {
  const mean = tensors['basis.mean'];
  const columns = tensors['basis.columns'];
  if (mean === undefined && columns === undefined) return undefined;
  const k = dimensionsOf(moments);
  if (columns?.shape.join() !== `${mean?.shape.join()},${k}` || mean?.shape.length !== 1) {
    throw new EliError(
      'FORMAT',
      `the gate's basis.mean [${mean?.shape}] and basis.columns [${columns?.shape}] must be [p] and [p, ${k}]`,
    );
  }
  return {
    mean: toFloat32(mean as SafetensorsEntry),
    columns: toFloat32(columns as SafetensorsEntry),
  };
}
