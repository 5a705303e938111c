import { EnergyGate, encodeGate, type Gate, NoveltyGate } from '../eli/gates/all.ts';
import { EliError } from '../errors.ts';
import { writeSafetensors } from '../files/safetensors.ts';
import { createProgress } from '../report/progress.ts';
import { checkSeed, permutation } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { gateBatch } from './align-apply.ts';
import { heldRows, readRows } from './align-fit.ts';
import { energyOf, loadMap } from './align-map.ts';
import { alignSession, checkDim } from './align-session.ts';
import { refuseExisting } from './flags.ts';

/** Gates that need nothing but latents, for which no network is at hand. */
export const LATENT_GATES = ['energy', 'novelty'] as const;
export type LatentGate = (typeof LATENT_GATES)[number];

export interface GateFlags {
  aligner: string;
  current: string;
  out: string;
  kind: LatentGate;
  quantile: number;
  seed: number;
  adapter?: string;
  force?: boolean;
}

/** Share of the rows that are held out to calibrate. */
const HELD_OUT = 0.2;

/** `eli align gate`: learns from current-task latents which ones to leave as they are, and writes the gate to a file. */
export async function gateCommand(flags: GateFlags): Promise<void> {
  checkSeed(flags.seed);
  if (!(flags.quantile >= 0 && flags.quantile <= 1))
    throw new EliError('CONFIG', `--quantile is ${flags.quantile}, must be a number from 0 to 1`);
  await refuseExisting(flags.out, flags.force);
  await alignSession({ current: flags.current }, flags.adapter, async ({ engine, check }, { current }) => {
    const map = await loadMap(engine, flags.aligner);
    checkDim(current, map.latent, flags.aligner);
    if (flags.kind === 'energy') energyOf(map, flags.aligner, '--kind energy');
    const { rows, dim } = current;
    const order = permutation(rows, { seed: flags.seed, stream: STREAM.gateSplit }).slice(
      0,
      heldRows(engine, dim),
    );
    const held = Math.round(HELD_OUT * order.length);
    if (held < 1 || order.length - held < 2) {
      throw new EliError('SHAPE', `${current.name} has ${rows} rows, too few to learn a gate from`, {
        hint: 'give more latents of the current task, some hundreds at least',
      });
    }
    const progress = createProgress();
    const gate: Gate = flags.kind === 'energy' ? new EnergyGate() : new NoveltyGate({ of: 'current' });
    const parts = [order.subarray(held), order.subarray(0, held)];
    for (const [i, part] of parts.entries()) {
      const latents = await readRows(engine, current, part.slice().sort(), progress, check);
      const made: Tensor[] = [latents, map.align(latents)];
      const batch = gateBatch(map, latents, made[1]!, made);
      if (i === 0) await gate.fit(batch);
      else await gate.calibrate(batch, flags.quantile);
      for (const t of made) t.dispose();
    }
    check();
    const { tensors, metadata } = encodeGate(gate);
    await writeSafetensors(flags.out, tensors, { format: 'eli-webgpu gate', ...metadata });
    process.stdout.write(
      `gate ${gate.name}, threshold ${gate.threshold.toPrecision(5)}, the ${flags.quantile} quantile of ${held} held-out latents: ${flags.out}\n`,
    );
  });
}
