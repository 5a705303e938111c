import { EliError } from '../../errors.ts';
import { brief } from '../../files/json.ts';
import type { Safetensors } from '../../files/safetensors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { stateFromTensors } from '../../nn/state-file.ts';
import { EnergyAligner } from '../aligner.ts';
import { CLOSED_FORM_PREFIX, type ClosedForm } from './closed-form.ts';
import { CLOSED_FORMS, type ClosedFormName } from './closed-forms.ts';
import { type LatentMap, type MapFormat, readMap } from './map.ts';

/** How the file of each format is read. */
export const MAP_READERS = {
  'eli-webgpu aligner': (engine: Engine, file: Safetensors): LatentMap =>
    EnergyAligner.fromFile(engine, file),
  'eli-webgpu control': (_: Engine, file: Safetensors): LatentMap => closedFormOf(file),
} satisfies Record<MapFormat, (engine: Engine, file: Safetensors) => LatentMap>;

function closedFormOf({ tensors, metadata }: Safetensors): ClosedForm {
  const name = metadata.control ?? '';
  if (!Object.hasOwn(CLOSED_FORMS, name)) {
    throw new EliError(
      'FORMAT',
      `there is no control ${brief(name)}, known: ${Object.keys(CLOSED_FORMS).join(', ')}`,
    );
  }
  return CLOSED_FORMS[name as ClosedFormName].fromState(stateFromTensors(tensors, CLOSED_FORM_PREFIX));
}

/**
 * Reads a map that its `save`, or `eli align fit`, wrote: an aligner or a closed form, as the file says.
 * @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong
 */
export function loadMap(engine: Engine, path: string): Promise<LatentMap> {
  return readMap(path, MAP_READERS, engine);
}
