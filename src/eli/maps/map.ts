import type { Tensor } from '../../tensor/tensor.ts';

/**
 * Moves latents of the current model back to where the previous model had them: the interface of the aligner, the closed
 * forms and any later map. `loadMap` reads the file of any of them.
 */
export interface LatentMap {
  /** Size d of a latent. */
  readonly latent: number;
  /** Latents of the current model, f32 [n, d] → aligned latents, f32 [n, d]. @throws EliError `SHAPE`, `DTYPE` */
  align(latents: Tensor): Tensor;
  /** Energy of latents, f32 [n, d] → [n]: low for those like the previous model's. Absent in maps without an energy. */
  energy?(latents: Tensor): Tensor;
  /** Writes the map to a safetensors file, atomically. @throws EliError `FILE` */
  save(path: string): Promise<void>;
  /** Frees what the map holds on the device. */
  dispose(): void;
  /** Same as `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

/** The formats of map files, as in their metadata; `loadMap` has a reader for each. */
export type MapFormat = 'eli-webgpu aligner' | 'eli-webgpu control';
