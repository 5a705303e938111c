import { existsSync } from 'node:fs';
import { AbortError, partialOf, stopIfAborted, unlessAborted } from '../abort.ts';
import { EliError, type ErrorCode } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Program } from '../gpu/program.ts';
import { cast } from '../ops/core/cast.ts';
import {
  choices,
  classKey,
  type Family,
  type Operand,
  observeLaunches,
  type Problem,
  type Variant,
} from '../ops/core/variants.ts';
import { fill, zeros } from '../tensor/create.ts';
import { randomUniform } from '../tensor/random.ts';
import { ELEMENT_BYTES, type Tensor } from '../tensor/tensor.ts';
import { addToTuning, readTuning, type Tuning } from './tuning-file.ts';

/** The first problem of its class that was launched. */
export interface Launched {
  /** `family: class`. */
  readonly key: string;
  // biome-ignore lint/suspicious/noExplicitAny: families of every problem type
  readonly family: Family<any>;
  readonly problem: Problem;
}

/** The time of one variant, or why it was refused. */
export interface VariantTiming {
  readonly name: string;
  /** Shortest time per launch, in milliseconds; absent if refused. */
  readonly milliseconds?: number;
  /** Why it must not be used: it does not compile, or its results are wrong. */
  readonly refused?: string;
}

/** Timings of the variants for one class of problems. */
export interface ClassTimings {
  readonly key: string;
  /** Floating-point operations of the problem that was timed. */
  readonly flops: number;
  /** The variant that the family's rule selects. */
  readonly rule: string;
  /** The fastest correct variant; the rule's, unless another is faster by more than the noise. */
  readonly best: string;
  readonly variants: readonly VariantTiming[];
}

export interface TimeVariantsOptions {
  /** Approximate time spent on each variant, in milliseconds. Default 100. */
  readonly time?: number;
  /** Called before each variant with the classes done, the total number of classes, and the next variant. */
  readonly onProgress?: (done: number, total: number, what: string) => void;
  /** Stops the measurement at once; the classes that are done are kept. */
  readonly signal?: AbortSignal | undefined;
}

/** Allowed difference from the plainest variant, relative to the largest result: sums of thousands in another order. */
const TOLERANCE = { f32: 2e-5, f16: 2e-3 };
/** A variant replaces the rule's only if it takes less than this share of its time: 3 % are noise. */
const GAIN = 0.97;
/** Variants this many times slower than the fastest are timed only once. */
const HOPELESS = 3;
const ROUNDS = 5;
/** Errors that say nothing about a variant. */
const FATAL: ReadonlySet<ErrorCode> = new Set(['DEVICE_LOST', 'DISPOSED', 'ABORTED']);

/** Calls `fn` and returns the problems launched until it is done, one per class. */
export async function launchesOf(fn: () => unknown): Promise<Launched[]> {
  const seen = new Map<string, Launched>();
  observeLaunches((family, problem) => {
    const key = classKey(family, problem);
    if (!seen.has(key)) seen.set(key, { key, family, problem });
  });
  try {
    await fn();
  } finally {
    observeLaunches(undefined);
  }
  return [...seen.values()];
}

/**
 * Times every variant that supports a problem, on random numbers in buffers of the problem's sizes, and checks each
 * against the plainest: one whose results differ, or that does not compile, is refused. Variants are timed in turn,
 * round by round, so that a disturbance affects all of them alike.
 * @throws AbortError whose `partial` are the timings of the classes that are done
 */
export async function timeVariants(
  engine: Engine,
  launched: readonly Launched[],
  { time = 100, onProgress, signal }: TimeVariantsOptions = {},
): Promise<ClassTimings[]> {
  const results: ClassTimings[] = [];
  const error = (): AbortError =>
    new AbortError(`stopped after ${results.length} of ${launched.length} classes`, {
      signal,
      partial: results,
    });
  for (const one of launched) {
    const say = (what: string) => onProgress?.(results.length, launched.length, what);
    const timing = (): Promise<ClassTimings> => timeClass(engine, one, { time, say, signal });
    results.push(await unlessAborted(signal, timing, error));
  }
  return results;
}

/** A correct variant as a program, and its shortest time so far. */
interface Runner {
  readonly name: string;
  readonly program: Program<void>;
  readonly times: number;
  milliseconds: number;
}

async function timeClass(
  engine: Engine,
  { key, family, problem }: Launched,
  { time, say, signal }: { time: number; say: (what: string) => void; signal: AbortSignal | undefined },
): Promise<ClassTimings> {
  const { scratch, tensors, output } = await scratchOf(engine, problem);
  const rule = family.rule(scratch).name;
  const refused: VariantTiming[] = [];
  const runners: Runner[] = [];
  let want: Float32Array | undefined;
  try {
    for (const variant of family.variants.filter((v) => v.supports(scratch))) {
      say(`${key}: ${variant.name}`);
      stopIfAborted(signal, 'stopped');
      try {
        const got = await resultOf(engine, variant, scratch, output);
        want ??= got;
        const wrong = difference(got, want, TOLERANCE[output.dtype === 'f32' ? 'f32' : 'f16']);
        if (wrong !== undefined) refused.push({ name: variant.name, refused: wrong });
        else runners.push(await runnerOf(engine, variant, scratch, time));
      } catch (cause) {
        if (!(cause instanceof EliError) || FATAL.has(cause.code)) throw cause;
        refused.push({ name: variant.name, refused: cause.message });
      }
    }
    const fastest = Math.min(...runners.map((runner) => runner.milliseconds));
    const hopeful = runners.filter((runner) => runner.milliseconds <= HOPELESS * fastest);
    for (let round = 0; round < ROUNDS; round++) {
      for (const runner of hopeful) {
        // Nobody waits for the result any more.
        stopIfAborted(signal, 'stopped');
        runner.milliseconds = Math.min(runner.milliseconds, await timed(engine, runner));
      }
    }
  } finally {
    for (const { program } of runners) program.dispose();
    for (const tensor of tensors) tensor.dispose();
  }
  return {
    key,
    flops: family.flops(problem),
    rule,
    best: bestOf(runners, rule),
    variants: [...runners.map(({ name, milliseconds }) => ({ name, milliseconds })), ...refused],
  };
}

/** The problem on new buffers: inputs of random numbers from −1 to 1, an output of zeros. */
async function scratchOf(engine: Engine, problem: Problem) {
  const tensors: Tensor[] = [];
  const place = (operand: Operand, make: (n: number) => Tensor): Operand => {
    const count = operand.storage.bytes / ELEMENT_BYTES[operand.dtype];
    const tensor = engine.keep(engine.tidy(() => cast(make(count), operand.dtype)));
    tensors.push(tensor);
    return { ...operand, storage: tensor.storage };
  };
  const inputs = problem.inputs.map(
    (input, i) => input && place(input, (n) => randomUniform(engine, [n], { seed: i + 1 }, -1, 1)),
  );
  const output = place(problem.output, (n) => zeros(engine, [n]));
  await engine.sync();
  return { scratch: { ...problem, inputs, output }, tensors, output: tensors.at(-1)! };
}

async function resultOf(
  engine: Engine,
  variant: Variant<Problem>,
  scratch: Problem,
  output: Tensor,
): Promise<Float32Array> {
  // Otherwise a variant that writes nothing would pass with the result of an earlier one.
  fill(output, 0);
  engine.tidy(() => variant.launch(scratch));
  return output.readFloats();
}

/** How a result is wrong, `undefined` if it is correct. */
function difference(got: Float32Array, want: Float32Array, tolerance: number): string | undefined {
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    scale = Math.max(scale, Math.abs(want[i]!));
    const error = Math.abs(got[i]! - want[i]!);
    worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : Math.max(worst, error);
  }
  return worst <= tolerance * scale
    ? undefined
    : `wrong by ${(worst / scale).toExponential(1)} of the largest result`;
}

async function runnerOf(
  engine: Engine,
  variant: Variant<Problem>,
  scratch: Problem,
  time: number,
): Promise<Runner> {
  const program = engine.capture(() => variant.launch(scratch));
  const milliseconds = await timed(engine, { program, times: 1 });
  const times = Math.max(1, Math.floor(time / ROUNDS / Math.max(milliseconds, 1e-3)));
  return { name: variant.name, program, times, milliseconds };
}

/** Milliseconds per launch. */
async function timed(engine: Engine, { program, times }: Pick<Runner, 'program' | 'times'>): Promise<number> {
  const start = performance.now();
  program.run(times);
  await engine.sync();
  return (performance.now() - start) / times;
}

function bestOf(runners: readonly Runner[], rule: string): string {
  const best = runners.reduce((a, b) => (b.milliseconds < a.milliseconds ? b : a));
  const byRule = runners.find((runner) => runner.name === rule) ?? best;
  return best.milliseconds < GAIN * byRule.milliseconds ? best.name : byRule.name;
}

/** What `autotune` measures, and where it stores the results. */
export interface AutotuneOptions extends TimeVariantsOptions {
  /** A tuning file: classes that it has for this adapter and driver are not measured again, new ones are added. */
  readonly cache?: string;
}

/**
 * Runs `fn` once, measures the variants of the kernels that it launched (matmul, linear and the convolutions have
 * variants), and from then on uses the fastest for each class of shapes on this engine. Programs captured before keep
 * their variants. A variant whose results differ from the plainest one's is never used.
 *
 * @param fn applies ops synchronously; its tensors are freed
 * @returns the classes that were measured in this call
 * @throws EliError `FILE` or `FORMAT` for a cache that cannot be read or written
 * @throws AbortError where the signal stops it: the classes measured until then (`partial`) are used and stored
 */
export async function autotune(
  engine: Engine,
  fn: () => unknown,
  options: AutotuneOptions = {},
): Promise<ClassTimings[]> {
  const { cache, signal } = options;
  stopIfAborted(signal, 'autotune was stopped before the first measurement', []);
  const known = cache === undefined || !existsSync(cache) ? {} : await readTuning(cache, engine.adapter);
  const launched = await launchesOf(() => engine.tidy(() => void fn()));
  const unknown = launched.filter(({ key }) => !Object.hasOwn(known, key));
  const measured = timeVariants(engine, unknown, options);
  const timings = await measured.catch(partialOf<ClassTimings[]>);
  const fastest = fastestOf(timings);
  use(engine, { ...known, ...fastest });
  if (cache !== undefined && timings.length > 0) await addToTuning(cache, engine.adapter, fastest);
  // Rejects where it was stopped.
  return measured;
}

/** The best variants of `timings`, for a tuning file. */
export function fastestOf(timings: readonly ClassTimings[]): Tuning {
  return Object.fromEntries(timings.map(({ key, best }) => [key, best]));
}

/** Uses these variants from now on; returns their number. */
function use(engine: Engine, tuning: Tuning): number {
  const chosen = Object.entries(tuning);
  for (const [key, name] of chosen) choices(engine).set(key, name);
  return chosen.length;
}

/**
 * Uses the variants that a file of `autotune` has for this engine's adapter and driver.
 * @returns the number of their classes
 * @throws EliError `FILE` when it cannot be read, `FORMAT` when it is not a tuning file
 */
export async function loadTuning(engine: Engine, file: string): Promise<number> {
  return use(engine, await readTuning(file, engine.adapter));
}
