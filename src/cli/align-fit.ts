import { EnergyAligner } from '../eli/aligner.ts';
import { type ControlName, fitControl } from '../eli/controls.ts';
import { type AlignerOptions, alignerConfig } from '../eli/options.ts';
import { EliError } from '../errors.ts';
import type { LatentSource } from '../files/latents.ts';
import type { Engine } from '../gpu/engine.ts';
import { createProgress, type Progress } from '../report/progress.ts';
import { tensor } from '../tensor/create.ts';
import { permutation } from '../tensor/random.ts';
import { STREAM } from '../tensor/streams.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { saveControl } from './align-map.ts';
import { alignSession, checkPairs, rowsPerBatch } from './align-session.ts';
import { flagOf, refuseExisting } from './flags.ts';

export interface FitFlags extends Record<string, unknown> {
  prev: string;
  current: string;
  out: string;
  control?: ControlName;
  maxPairs?: number;
  adapter?: string;
  force?: boolean;
}

/** Iterations between two looks at Ctrl-C: a fraction of a second on a slow device. */
const EVERY = 100;
/** Bytes of latents of one model that are held in memory at most. */
const MAX_BYTES = 1 << 30;

/** `eli align fit`: learns an aligner or a control from pairs of latents and writes it to one file. */
export async function fitCommand(flags: FitFlags, options: AlignerOptions): Promise<void> {
  const config = alignerConfig(options);
  checkFlags(flags, options);
  await refuseExisting(flags.out, flags.force);
  const paths = { previous: flags.prev, current: flags.current };
  await alignSession(paths, flags.adapter, async ({ engine, check, signal }, { previous, current }) => {
    checkPairs(previous, current);
    const { rows, dim } = previous;
    const progress = createProgress();
    // An aligner never sees more pairs than its minibatches draw.
    const drawn = flags.control === undefined ? Math.max(1, config.iterations) * config.batch : rows;
    const most = Math.min(flags.maxPairs ?? Number.POSITIVE_INFINITY, drawn, heldRows(engine, dim));
    const chosen = choosePairs(rows, most, config.seed);
    if (chosen !== undefined) {
      process.stderr.write(
        `${chosen.length} of ${rows} pairs are used, drawn with seed ${config.seed}: ${reason(most, drawn, flags.maxPairs)}\n`,
      );
    }
    process.stderr.write(`fitting on ${engine.adapter.name} (${engine.adapter.driver})\n`);
    const pairs: { previous: Tensor; current: Tensor } = {
      previous: await readRows(engine, previous, chosen, progress, check),
      current: await readRows(engine, current, chosen, progress, check),
    };
    if (flags.control !== undefined) {
      const control = await fitControl(flags.control, pairs);
      check();
      await saveControl(flags.out, control);
    } else {
      const bar = progress('fit', config.iterations, 'iterations');
      let aligner: EnergyAligner;
      try {
        aligner = await EnergyAligner.fit(engine, pairs, options, {
          every: EVERY,
          signal,
          onProgress: ({ iteration, loss }) => bar.update(iteration, `loss ${loss.toPrecision(4)}`),
        });
      } finally {
        bar.done();
      }
      check();
      await aligner.save(flags.out);
    }
    process.stdout.write(`${flags.control ?? 'aligner'} of latents [n, ${dim}]: ${flags.out}\n`);
  });
}

/** @throws EliError `CONFIG` for a wrong number of pairs, or options that a control does not have */
function checkFlags({ control, maxPairs }: FitFlags, options: AlignerOptions): void {
  if (maxPairs !== undefined && !(Number.isInteger(maxPairs) && maxPairs >= 1)) {
    throw new EliError('CONFIG', `--max-pairs is ${maxPairs}, must be a whole number from 1`);
  }
  const foreign = Object.keys(options).filter((key) => key !== 'seed');
  if (control !== undefined && foreign.length > 0) {
    throw new EliError(
      'CONFIG',
      `--control ${control} is a closed form, it has no ${foreign.map((key) => `--${flagOf(key)}`).join(', ')}`,
      {
        hint: 'leave these options out, or --control',
      },
    );
  }
}

/** Rows of one tensor of latents: a storage binding of the device, and memory, hold no more. */
export function heldRows(engine: Engine, dim: number): number {
  const { maxBufferSize, maxStorageBufferBindingSize } = engine.device.limits;
  return Math.floor(Math.min(maxBufferSize, maxStorageBufferBindingSize, MAX_BYTES) / (4 * dim));
}

function reason(most: number, drawn: number, asked: number | undefined): string {
  if (most === asked) return 'as --max-pairs asks';
  return most === drawn ? 'the fit draws no more' : 'the device holds no more in one buffer';
}

/** Row numbers in order, drawn without replacement; `undefined`: all. */
function choosePairs(rows: number, most: number, seed: number): Uint32Array | undefined {
  if (rows <= most) return undefined;
  return permutation(rows, { seed, stream: STREAM.pairs }).slice(0, most).sort();
}

/** The chosen rows as a tensor [chosen, d]; the whole file is read once, and so checked. */
export async function readRows(
  engine: Engine,
  source: LatentSource,
  chosen: Uint32Array | undefined,
  progress: Progress,
  check: () => void,
): Promise<Tensor> {
  const { rows, dim } = source;
  const count = chosen?.length ?? rows;
  const held = new Float32Array(count * dim);
  const bar = progress('read', rows, 'rows');
  try {
    let first = 0;
    let taken = 0;
    for await (const batch of source.batches(rowsPerBatch(dim))) {
      check();
      const end = first + batch.length / dim;
      if (chosen === undefined) held.set(batch, first * dim);
      for (; chosen !== undefined && chosen[taken]! < end; taken++) {
        const at = (chosen[taken]! - first) * dim;
        held.set(batch.subarray(at, at + dim), taken * dim);
      }
      first = end;
      bar.update(first);
    }
  } finally {
    bar.done();
  }
  return tensor(engine, held, [count, dim]);
}
