import { decodeGate, type Gate, type GateBatch } from '../eli/gates/all.ts';
import { EliError } from '../errors.ts';
import { ahead } from '../files/ahead.ts';
import { checkFinite, type LatentSource } from '../files/latents.ts';
import { writeNpy } from '../files/npy.ts';
import { readSafetensors } from '../files/safetensors.ts';
import { createProgress } from '../report/progress.ts';
import { tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { energyOf, type FittedMap, loadMap } from './align-map.ts';
import { alignSession, checkDim, rowsPerBatch, type Session } from './align-session.ts';
import { refuseExisting } from './flags.ts';

export interface ApplyFlags {
  aligner: string;
  in: string;
  out: string;
  energies?: string;
  gate?: string;
  adapter?: string;
  force?: boolean;
}

/** `eli align apply`: aligns latents of any number from file to file, in batches. */
export async function applyCommand(flags: ApplyFlags): Promise<void> {
  if (flags.out === flags.energies)
    throw new EliError('CONFIG', `--out and --energies are the same file: ${flags.out}`);
  for (const path of [flags.out, flags.energies]) {
    if (path === undefined) continue;
    if (!/\.npy$/i.test(path))
      throw new EliError('CONFIG', `${path}: the output is written as .npy, name it so`);
    await refuseExisting(path, flags.force);
  }
  await alignSession({ latents: flags.in }, flags.adapter, async (session, { latents }) => {
    const map = await loadMap(session.engine, flags.aligner);
    checkDim(latents, map.latent, flags.aligner);
    const gate = flags.gate === undefined ? undefined : await loadGate(flags.gate);
    const { rows, dim } = latents;
    const counts = { done: 0, old: 0 };
    const energies = flags.energies === undefined ? undefined : new Float32Array(2 * rows);
    const energy = energies === undefined ? undefined : energyOf(map, flags.aligner, '--energies');
    process.stderr.write(`aligning on ${session.engine.adapter.name} (${session.engine.adapter.driver})\n`);
    const bar = createProgress()('align', rows, 'rows');
    async function* content(): AsyncGenerator<Float32Array> {
      const batches = alignBatches(session, latents, map, {
        ...(gate && { gate }),
        ...(energy && { energy }),
      });
      for await (const batch of ahead(batches)) {
        yield batch.aligned;
        if (batch.energies !== undefined) energies?.set(batch.energies, 2 * counts.done);
        counts.done += batch.aligned.length / dim;
        counts.old += batch.old;
        bar.update(counts.done);
        session.check();
      }
      // Before the latents get their name: when this fails, neither file is there.
      if (flags.energies !== undefined) await writeNpy(flags.energies, [rows, 2], [energies!]);
    }
    try {
      await writeNpy(flags.out, [rows, dim], content());
    } finally {
      bar.done();
    }
    if (gate !== undefined) {
      process.stdout.write(`gate ${gate.name}: ${counts.old} of ${rows} latents were aligned\n`);
    }
    process.stdout.write(`aligned latents [${rows}, ${dim}]: ${flags.out}\n`);
  });
}

/** A batch of latents after alignment. */
export interface AlignedBatch {
  /** Float32 [n, d] row-major, as they were and aligned. */
  readonly current: Float32Array;
  readonly aligned: Float32Array;
  /** Energy of each before and after, [n, 2]; only when asked for. */
  readonly energies?: Float32Array;
  /** Rows that were aligned: all, or those that the gate takes for old ones. */
  readonly old: number;
}

/** Aligns latents batch by batch; the next batch is read meanwhile. @throws EliError `NON_FINITE`, `ABORTED` */
export async function* alignBatches(
  { engine, check }: Session,
  source: LatentSource,
  map: FittedMap,
  { gate, energy }: { readonly gate?: Gate; readonly energy?: (latents: Tensor) => Tensor } = {},
): AsyncGenerator<AlignedBatch> {
  let row = 0;
  for await (const current of ahead(source.batches(rowsPerBatch(source.dim)))) {
    check();
    const rows = current.length / source.dim;
    const before = tensor(engine, current, [rows, source.dim]);
    const after = map.align(before);
    const made = [before, after];
    try {
      const [energyBefore, energyAfter] = energy === undefined ? [] : made.map(energy);
      made.push(...[energyBefore, energyAfter].filter((t) => t !== undefined));
      const aligned = await after.readFloats();
      const energies = energyBefore === undefined ? undefined : await interleave(energyBefore, energyAfter!);
      const decisions = gate && (await gate.decide(gateBatch(map, before, after, made)));
      let old = rows;
      decisions?.forEach((isOld, i) => {
        if (isOld === 1) return;
        old--;
        aligned.set(current.subarray(i * source.dim, (i + 1) * source.dim), i * source.dim);
        if (energies !== undefined) energies[2 * i + 1] = energies[2 * i]!;
      });
      checkFinite(
        aligned,
        source.dim,
        row,
        `aligned ${source.name}`,
        'the chain diverges from this latent: fit with a smaller stepSize',
      );
      yield { current, aligned, old, ...(energies === undefined ? {} : { energies }) };
      row += rows;
    } finally {
      for (const t of made) t.dispose();
    }
  }
}

/** What gates of latents look at. The energy is put under `made`, which the caller disposes. */
export function gateBatch(map: FittedMap, current: Tensor, aligned: Tensor, made: Tensor[]): GateBatch {
  const energy = map.energy?.(current);
  if (energy !== undefined) made.push(energy);
  return { current, aligned, ...(energy && { energy }) };
}

/** Energies [n] before and after, side by side. */
async function interleave(...energies: readonly [Tensor, Tensor]): Promise<Float32Array<ArrayBuffer>> {
  const [before, after] = await Promise.all(energies.map((energy) => energy.readFloats()));
  const both = new Float32Array(2 * before!.length);
  before!.forEach((value, i) => {
    both[2 * i] = value;
    both[2 * i + 1] = after![i]!;
  });
  return both;
}

async function loadGate(path: string): Promise<Gate> {
  const file = await readSafetensors(path);
  let gate: Gate | undefined;
  try {
    gate = decodeGate(file);
  } catch (cause) {
    throw new EliError('FORMAT', `${path}: ${(cause as Error).message}`, { cause });
  }
  if (gate === undefined)
    throw new EliError('FORMAT', `${path} holds no gate`, { hint: 'make one with eli align gate' });
  return gate;
}
