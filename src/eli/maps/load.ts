import { readFormat } from '../../files/formats.ts';
import type { Safetensors } from '../../files/safetensors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { EnergyAligner } from '../aligner.ts';
import { closedFormFromFile } from './closed-forms.ts';
import type { LatentMap, MapFormat } from './map.ts';

/** How the file of each format is read. */
export const mapReaders = (engine: Engine) =>
  ({
    'eli-webgpu aligner': (file) => EnergyAligner.fromFile(engine, file),
    'eli-webgpu control': closedFormFromFile,
  }) satisfies Record<MapFormat, (file: Safetensors) => LatentMap>;

/**
 * Reads a map that its `save`, or `eli align fit`, wrote: an aligner or a closed form, as the file says.
 * @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong
 */
export function loadMap(engine: Engine, path: string): Promise<LatentMap> {
  return readFormat<LatentMap>(path, mapReaders(engine));
}
