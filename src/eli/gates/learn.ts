import { EliError } from '../../errors.ts';
import type { LatentSource } from '../../files/latents.ts';
import type { Engine } from '../../gpu/engine.ts';
import { checkSeed, permutation } from '../../tensor/random.ts';
import { withScope } from '../../tensor/scope.ts';
import { STREAM } from '../../tensor/streams.ts';
import type { LatentMap } from '../maps/map.ts';
import { checkLatentSize, maxRows, type RowHooks, readRows } from '../rows.ts';
import type { Gate } from './gate.ts';

/** Share of the rows held out to calibrate. */
const HELD_OUT = 0.2;

/** How `learnGate` splits the rows and calibrates. */
export interface LearnGateOptions extends RowHooks {
  /** Share of current-task latents to leave as they are. */
  readonly quantile: number;
  /** Seed of the split into rows to learn from and to calibrate with; default 1. */
  readonly seed?: number;
}

/**
 * Fits and calibrates a gate that needs only latents (an `EnergyGate`, or a `NoveltyGate` of latents) on a file of the
 * current model's latents of current-task data. The file is read twice: `onProgress` counts to 2 · rows.
 * @returns how many latents were held out to calibrate
 * @throws EliError `SHAPE` for latents of another size or too few, `ABORTED`, and what the gate throws
 */
export async function learnGate(
  engine: Engine,
  gate: Gate,
  current: LatentSource,
  map: LatentMap,
  { quantile, seed = 1, ...hooks }: LearnGateOptions,
): Promise<number> {
  checkSeed(seed);
  checkLatentSize(current, map);
  const { rows, dim } = current;
  const order = permutation(rows, { seed, stream: STREAM.gateSplit }).slice(0, maxRows(engine, dim));
  const held = Math.round(HELD_OUT * order.length);
  if (held < 1 || order.length - held < 2) {
    throw new EliError('SHAPE', `${current.name} has ${rows} rows, too few to learn a gate from`, {
      hint: 'give more latents of the current task, a few hundred at least',
    });
  }
  for (const [i, part] of [order.subarray(held), order.subarray(0, held)].entries()) {
    const latents = await readRows(engine, current, part.slice().sort(), {
      ...hooks,
      onProgress: (done) => hooks.onProgress?.(i * rows + done),
    });
    await withScope(engine, async (scope) => {
      scope.add(latents);
      const aligned = scope.own(() => map.align(latents));
      const energy = map.energy && scope.own(() => map.energy!(latents));
      const batch = { current: latents, aligned, ...(energy && { energy }) };
      if (i === 0) await gate.fit(batch);
      else await gate.calibrate(batch, quantile);
    });
  }
  return held;
}
