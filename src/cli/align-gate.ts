import { stopIfAborted } from '../abort.ts';
import { EnergyGate, type Gate, NoveltyGate } from '../eli/gates/all.ts';
import { saveGate } from '../eli/gates/file.ts';
import { learnGate } from '../eli/gates/learn.ts';
import { loadMap } from '../eli/maps/load.ts';
import { checkEnergy, STOPPED } from '../eli/rows.ts';
import { EliError } from '../errors.ts';
import { checkSeed } from '../tensor/random.ts';
import { type AlignFlags, alignSession } from './align-session.ts';
import { checkOutput } from './flags.ts';

/** Gates that need only latents and no network. */
const KINDS = {
  energy: () => new EnergyGate(),
  novelty: () => new NoveltyGate({ of: 'current' }),
} satisfies Record<string, () => Gate>;
export type LatentGate = keyof typeof KINDS;
export const LATENT_GATES = Object.keys(KINDS) as LatentGate[];

export interface GateFlags extends AlignFlags {
  aligner: string;
  current: string;
  kind: LatentGate;
  quantile: number;
  seed: number;
}

/** `eli align gate`: learns from current-task latents which latents to leave as they are, and writes the gate to a file. */
export async function gateCommand(flags: GateFlags): Promise<void> {
  const { aligner, kind, quantile, seed, out } = flags;
  checkSeed(seed);
  if (!(quantile >= 0 && quantile <= 1))
    throw new EliError('CONFIG', `--quantile is ${quantile}, must be a number from 0 to 1`);
  await checkOutput(out, flags);
  await alignSession({ current: flags.current }, flags, async (session, { current }) => {
    const map = await loadMap(session.engine, aligner);
    if (kind === 'energy') checkEnergy(map, '--kind energy');
    const gate = KINDS[kind]();
    const held = await session.withBar('read', 2 * current.rows, 'rows', (hooks) =>
      learnGate(session.engine, gate, current, map, { quantile, seed, ...hooks }),
    );
    stopIfAborted(session.signal, STOPPED);
    await saveGate(out, gate);
    process.stdout.write(
      `gate ${gate.name}, threshold ${gate.threshold.toPrecision(5)}, the ${quantile} quantile of ${held} held-out latents: ${out}\n`,
    );
  });
}
