import { EliError, type ErrorCode } from '../../errors.ts';
import { brief } from '../../files/json.ts';
import {
  readSafetensors,
  type Safetensors,
  type SafetensorsInput,
  writeSafetensors,
} from '../../files/safetensors.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Tensor } from '../../tensor/tensor.ts';

/**
 * Moves latents of the current model back to where the previous model had them. The aligner, the closed forms and every
 * later map have this one shape; `loadMap` reads the file of any of them.
 */
export interface LatentMap {
  /** Size d of a latent. */
  readonly latent: number;
  /** Latents of the current model, f32 [n, d] → aligned latents, f32 [n, d]. @throws EliError `SHAPE`, `DTYPE` */
  align(latents: Tensor): Tensor;
  /** Energy of latents, f32 [n, d] → [n]: low for those like the previous model's. Maps without an energy lack it. */
  energy?(latents: Tensor): Tensor;
  /** Writes the map to a safetensors file, atomically. @throws EliError `FILE` */
  save(path: string): Promise<void>;
  /** Frees what the map holds on the device. */
  dispose(): void;
  [Symbol.dispose](): void;
}

/** The formats of map files, as their metadata name them; `loadMap` has a reader for each. */
export type MapFormat = 'eli-webgpu aligner' | 'eli-webgpu control';

/** Writes the file of a map. @throws EliError `FILE` */
export function writeMap(
  path: string,
  format: MapFormat,
  tensors: Readonly<Record<string, SafetensorsInput>>,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  return writeSafetensors(path, tensors, { format, ...metadata });
}

/** Failures that are not a file's fault. */
const OF_DEVICE: ReadonlySet<ErrorCode> = new Set(['DISPOSED', 'DEVICE_LOST', 'OUT_OF_MEMORY']);

/**
 * Reads the file of a map by the reader of its format.
 * @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong: it has another format or is damaged
 */
export async function readMap<T>(
  path: string,
  readers: Readonly<Partial<Record<MapFormat, (engine: Engine, file: Safetensors) => T>>>,
  engine: Engine,
): Promise<T> {
  const file = await readSafetensors(path);
  const { format } = file.metadata;
  const read = Object.entries(readers).find(([known]) => known === format)?.[1];
  if (read === undefined) {
    throw new EliError(
      'FORMAT',
      `${path} is not an ${Object.keys(readers).join(' or ')}: the format in its metadata is ${brief(format)}`,
      { hint: '`eli align fit`, or the save of a map, writes such files' },
    );
  }
  try {
    return read(engine, file);
  } catch (cause) {
    if (cause instanceof EliError && OF_DEVICE.has(cause.code)) throw cause;
    throw new EliError('FORMAT', `${path} is not a complete ${format}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
