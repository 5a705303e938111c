import { brief, EliError } from '../../errors.ts';
import { readFormat } from '../../files/formats.ts';
import type { Safetensors } from '../../files/safetensors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { stateFromTensors } from '../../nn/state-file.ts';
import { EnergyAligner } from '../aligner.ts';
import { CLOSED_FORM_PREFIX, type ClosedForm } from './closed-form.ts';
import { CLOSED_FORMS, type ClosedFormName } from './closed-forms.ts';
import type { LatentMap, MapFormat } from './map.ts';

/** How the file of each format is read. */
export const mapReaders = (engine: Engine) =>
  ({
    'eli-webgpu aligner': (file) => EnergyAligner.fromFile(engine, file),
    'eli-webgpu control': closedFormOf,
  }) satisfies Record<MapFormat, (file: Safetensors) => LatentMap>;

function closedFormOf({ tensors, metadata }: Safetensors): ClosedForm {
  const name = metadata.control ?? '';
  if (!Object.hasOwn(CLOSED_FORMS, name)) {
    const known = Object.keys(CLOSED_FORMS).join(', ');
    throw new EliError('FORMAT', `there is no control ${brief(name)}, known: ${known}`);
  }
  return CLOSED_FORMS[name as ClosedFormName].fromState(stateFromTensors(tensors, CLOSED_FORM_PREFIX));
}

/**
 * Reads a map that its `save`, or `eli align fit`, wrote: an aligner or a closed form, as the file says.
 * @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong
 */
export function loadMap(engine: Engine, path: string): Promise<LatentMap> {
  return readFormat<LatentMap>(path, mapReaders(engine));
}
