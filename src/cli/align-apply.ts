import { alignFile } from '../eli/apply.ts';
import { loadGate } from '../eli/gates/file.ts';
import { loadMap } from '../eli/maps/load.ts';
import { checkEnergy, checkLatentSize } from '../eli/rows.ts';
import { EliError } from '../errors.ts';
import { type AlignFlags, alignSession, sayAdapter } from './align-session.ts';
import { checkOutput } from './flags.ts';

export interface ApplyFlags extends AlignFlags {
  aligner: string;
  in: string;
  energies?: string;
  gate?: string;
}

/** `eli align apply`: aligns any number of latents from file to file, in batches. */
export async function applyCommand(flags: ApplyFlags): Promise<void> {
  const { out, energies } = flags;
  if (out === energies) throw new EliError('CONFIG', `--out and --energies are the same file: ${out}`);
  for (const path of [out, energies]) {
    if (path === undefined) continue;
    if (!/\.npy$/i.test(path))
      throw new EliError('CONFIG', `${path}: the output is written as .npy, so its name must end in .npy`);
    await checkOutput(path, flags);
  }
  await alignSession({ latents: flags.in }, flags, async ({ engine, withBar }, { latents }) => {
    const map = await loadMap(engine, flags.aligner);
    checkLatentSize(latents, map);
    const gate = flags.gate === undefined ? undefined : await loadGate(flags.gate);
    if (energies !== undefined) checkEnergy(map, '--energies');
    sayAdapter('aligning', engine);
    const options = { ...(gate && { gate }), ...(energies !== undefined && { energiesOut: energies }) };
    const { rows, aligned } = await withBar('align', latents.rows, 'rows', (hooks) =>
      alignFile(engine, latents, map, out, { ...options, ...hooks }),
    );
    if (gate !== undefined)
      process.stdout.write(`gate ${gate.name}: ${aligned} of ${rows} latents were aligned\n`);
    process.stdout.write(`aligned latents [${rows}, ${latents.dim}]: ${out}\n`);
  });
}
