// Times libraries beside each other: each result is compared with float64 first, then rounds take turns, so that a
// noisy minute meets all of them.

/** A library doing one workload. */
export interface Contender {
  /** As in the table's head, such as `@jax-js/jax webgpu`. */
  readonly library: string;
  /** Does it `times` times and waits for the device. */
  readonly run: (times: number) => Promise<void>;
  /** Instead of the comparison's: for products of rounded numbers. */
  readonly tolerance?: number;
  /** What it computes, in the order of the comparison's `expected`. */
  readonly result: () => Promise<ArrayLike<number>[]>;
}

/** One row of the comparison. */
export interface Comparison {
  readonly name: string;
  /** The figure that is printed for a median in milliseconds, and its unit. */
  readonly unit: string;
  readonly figure: (milliseconds: number) => number;
  /** Results in float64; undefined where nothing here can compute them. */
  readonly expected: () => ArrayLike<number>[] | undefined | Promise<ArrayLike<number>[] | undefined>;
  /** Largest difference allowed, over the largest value expected in an array. */
  readonly tolerance: number;
  /** Made one after the other, ours first; one that this machine lacks is undefined. */
  readonly contenders: readonly (() => Promise<Contender | undefined>)[];
  /** One round of so many times, instead of several short ones. */
  readonly once?: number;
}

/** Milliseconds of doing it once: median and quartiles over the rounds. */
export interface Timing {
  readonly library: string;
  readonly median: number;
  readonly low: number;
  readonly high: number;
  /** Largest difference from float64 over the largest value; undefined where it was not compared. */
  readonly off: number | undefined;
}

/** Fewer where they take long: no further one begins after this many milliseconds. */
const ROUNDS = { least: 5, most: 9 };
const LONG = 20_000;
/** A round does it so often that it takes about this long, in milliseconds. */
const ROUND = 250;

/** Largest difference over the largest value; infinite where sizes differ or a value is no number. */
export function difference(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let [worst, size] = [0, 0];
  for (let i = 0; i < want.length; i++) {
    const off = Math.abs(got[i]! - want[i]!);
    if (!(off <= worst)) worst = off;
    size = Math.max(size, Math.abs(want[i]!));
  }
  return worst <= Number.MAX_VALUE ? worst / size : Number.POSITIVE_INFINITY;
}

async function offBy(contender: Contender, expected: readonly ArrayLike<number>[]): Promise<number> {
  const got = await contender.result();
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  return Math.max(...expected.map((want, i) => difference(got[i]!, want)));
}

const quantile = (sorted: readonly number[], q: number): number =>
  sorted[Math.round(q * (sorted.length - 1))]!;

interface Entry {
  readonly contender: Contender;
  readonly off: number | undefined;
  readonly times: number;
  readonly samples: number[];
}

/**
 * Checks and times all contenders; `wrong` is told of those that fail or are off, which have no time then.
 * @throws Error when that is ours, the first.
 */
export async function compare(comparison: Comparison, wrong: (problem: string) => void): Promise<Timing[]> {
  const expected = await comparison.expected();
  const entries: Entry[] = [];
  for (const make of comparison.contenders) {
    try {
      const contender = await make();
      if (contender !== undefined) entries.push(await checked(comparison, contender, expected));
    } catch (error) {
      if (entries.length === 0) throw error;
      wrong(`${comparison.name}: ${(error as Error).message}`);
    }
  }
  const begun = performance.now();
  const another = (done: number): boolean => {
    if (comparison.once !== undefined) return done < 1;
    return done < ROUNDS.least || (done < ROUNDS.most && performance.now() - begun < LONG);
  };
  for (let round = 0; another(round); round++) {
    for (const { contender, times, samples } of entries) {
      const start = performance.now();
      await contender.run(times);
      samples.push((performance.now() - start) / times);
    }
  }
  return entries.map(({ contender, off, samples }) => {
    const sorted = samples.toSorted((a, b) => a - b);
    const [low, median, high] = [0.25, 0.5, 0.75].map((q) => quantile(sorted, q));
    return { library: contender.library, median: median!, low: low!, high: high!, off };
  });
}

/** Compares its result, and warms it up. */
async function checked(
  { tolerance, once }: Comparison,
  contender: Contender,
  expected: readonly ArrayLike<number>[] | undefined,
): Promise<Entry> {
  const off = expected && (await offBy(contender, expected));
  const allowed = contender.tolerance ?? tolerance;
  if (off !== undefined && !(off < allowed)) {
    throw new Error(`${contender.library} is off by ${off}, more than ${allowed}: not timed`);
  }
  if (once !== undefined) await contender.run(10);
  return { contender, off, times: once ?? (await timesOf(contender)), samples: [] };
}

/** How often it is done in a round; also warms it up. */
async function timesOf(contender: Contender): Promise<number> {
  await contender.run(1);
  let times = 1;
  for (;;) {
    const start = performance.now();
    await contender.run(times);
    const took = performance.now() - start;
    if (took >= ROUND / 4) {
      const wanted = Math.max(1, Math.round((times * ROUND) / took));
      // Once more: a fit of so many iterations may have to be set up.
      if (wanted !== times && took < ROUND) await contender.run(wanted);
      return wanted;
    }
    times *= 4;
  }
}
