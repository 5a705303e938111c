import { stopIfAborted } from '../abort.ts';
import type { Values } from '../config.ts';
import { EnergyAligner } from '../eli/aligner.ts';
import type { LatentPairs } from '../eli/fit.ts';
import { type ClosedFormName, fitMap } from '../eli/maps/closed-forms.ts';
import { type AlignerConfig, type AlignerOptions, alignerConfig } from '../eli/options.ts';
import { checkSameRows, choosePairs, maxRows, readRows, STOPPED } from '../eli/rows.ts';
import { EliError } from '../errors.ts';
import type { LatentSource } from '../files/latents.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { type AlignFlags, alignSession, type Session, sayAdapter } from './align-session.ts';
import { checkOutput, flagOf } from './flags.ts';

export interface FitFlags extends AlignFlags, Values {
  prev: string;
  current: string;
  control?: ClosedFormName;
  maxPairs?: number;
}

/** Iterations between checks for Ctrl-C: a fraction of a second on a slow device. */
const EVERY = 100;

/** `eli align fit`: learns an aligner or a control from pairs of latents and writes it to one file. */
export async function fitCommand(flags: FitFlags, options: AlignerOptions): Promise<void> {
  const config = alignerConfig(options);
  checkFlags(flags, options);
  await checkOutput(flags.out, flags);
  const paths = { previous: flags.prev, current: flags.current };
  await alignSession(paths, flags, async (session, { previous, current }) => {
    const { engine, signal, withBar } = session;
    checkSameRows(previous, current);
    const { rows, dim } = previous;
    // An aligner never sees more pairs than its mini-batches draw.
    const drawn = flags.control === undefined ? Math.max(1, config.iterations) * config.batch : rows;
    const most = Math.min(flags.maxPairs ?? Number.POSITIVE_INFINITY, drawn, maxRows(engine, dim));
    const chosen = choosePairs(rows, most, config.seed);
    if (chosen !== undefined) {
      process.stderr.write(
        `${chosen.length} of ${rows} pairs are used, drawn with seed ${config.seed}: ${reason(most, drawn, flags.maxPairs)}\n`,
      );
    }
    sayAdapter('fitting', engine);
    const read = (source: LatentSource): Promise<Tensor> =>
      withBar('read', rows, 'rows', (hooks) => readRows(engine, source, chosen, hooks));
    const pairs = { previous: await read(previous), current: await read(current) };
    const map =
      flags.control === undefined
        ? await fitAligner(session, pairs, config)
        : await fitMap(flags.control, pairs);
    stopIfAborted(signal, STOPPED);
    await map.save(flags.out);
    process.stdout.write(`${flags.control ?? 'aligner'} of latents [n, ${dim}]: ${flags.out}\n`);
  });
}

function fitAligner(
  { engine, withBar }: Session,
  pairs: LatentPairs,
  config: AlignerConfig,
): Promise<EnergyAligner> {
  return withBar('fit', config.iterations, 'iterations', ({ signal, onProgress }) =>
    EnergyAligner.fit(engine, pairs, config, {
      every: EVERY,
      signal,
      onProgress: ({ iteration, loss }) => onProgress(iteration, `loss ${loss.toPrecision(4)}`),
    }),
  );
}

/** @throws EliError `CONFIG` for an invalid number of pairs, or options that a control does not have */
function checkFlags({ control, maxPairs }: FitFlags, options: AlignerOptions): void {
  if (maxPairs !== undefined && !(Number.isInteger(maxPairs) && maxPairs >= 1)) {
    throw new EliError('CONFIG', `--max-pairs is ${maxPairs}, must be a whole number from 1`);
  }
  const foreign = Object.keys(options).filter((key) => key !== 'seed');
  if (control !== undefined && foreign.length > 0) {
    throw new EliError(
      'CONFIG',
      `--control ${control} is a closed form, which has no ${foreign.map((key) => `--${flagOf(key)}`).join(', ')}`,
      { hint: 'leave these options out, or --control' },
    );
  }
}

function reason(most: number, drawn: number, asked: number | undefined): string {
  if (most === asked) return 'as --max-pairs asks';
  return most === drawn ? 'the fit draws no more' : 'the device holds no more in one buffer';
}
