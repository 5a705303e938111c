import { EnergyAligner } from '../eli/aligner.ts';
import { CONTROLS, type Control, type ControlName, controlFromTensors } from '../eli/controls.ts';
import { EliError } from '../errors.ts';
import { readSafetensors, writeSafetensors } from '../files/safetensors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Tensor } from '../tensor/tensor.ts';

const CONTROL_FORMAT = 'eli-webgpu control';

/** What `eli align fit` wrote: an aligner, or a control that stands beside it. */
export interface FittedMap {
  readonly latent: number;
  align(latents: Tensor): Tensor;
  /** Energy of latents [n, d] → [n]; a control has none. */
  readonly energy?: (latents: Tensor) => Tensor;
}

/** Writes a control to a file that `loadMap` reads. @throws EliError `FILE` */
export async function saveControl(path: string, control: Control): Promise<void> {
  await writeSafetensors(path, control.toTensors(), { format: CONTROL_FORMAT, control: control.name });
}

/** @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong */
export async function loadMap(engine: Engine, path: string): Promise<FittedMap> {
  const file = await readSafetensors(path);
  if (file.metadata.format !== CONTROL_FORMAT) {
    const aligner = await EnergyAligner.load(engine, path);
    return {
      latent: aligner.latent,
      align: (latents) => aligner.align(latents),
      energy: (latents) => aligner.energy(latents),
    };
  }
  const name = file.metadata.control as ControlName;
  if (!CONTROLS.includes(name))
    throw new EliError('FORMAT', `${path}: there is no control "${name}", known: ${CONTROLS.join(', ')}`);
  try {
    return controlFromTensors(name, file.tensors);
  } catch (cause) {
    throw new EliError('FORMAT', `${path}: ${(cause as Error).message}`, { cause });
  }
}

/** `loadMap` for a command that needs energies. @throws EliError `CONFIG` for a control */
export function energyOf(map: FittedMap, path: string, what: string): (latents: Tensor) => Tensor {
  if (map.energy !== undefined) return map.energy;
  throw new EliError('CONFIG', `${what} needs energies; ${path} holds a control, which has none`, {
    hint: 'fit an aligner: leave --control out',
  });
}
