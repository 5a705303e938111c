import { EliError } from '../errors.ts';
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
import { readTuning, saveTuning, type Tuning } from './tuning-file.ts';

/** A problem that was launched: the first of its class. */
export interface Launched {
  /** `family: class`. */
  readonly key: string;
  // biome-ignore lint/suspicious/noExplicitAny: families of every problem type
  readonly family: Family<any>;
  readonly problem: Problem;
}

/** Timing of one variant, or why it was rejected. */
export interface VariantTiming {
  readonly name: string;
  /** Shortest time of one launch, in milliseconds. Absent for a variant that was refused. */
  readonly milliseconds?: number;
  /** Why it may not be taken: it does not compile, or its results are wrong. */
  readonly refused?: string;
}

/** Timings of the variants for one class of problems. */
export interface ClassTimings {
  readonly key: string;
  /** Floating-point operations of the problem that was timed. */
  readonly flops: number;
  /** What the family's rule takes. */
  readonly rule: string;
  /** The fastest that is right; the rule's where nothing is faster beyond the noise. */
  readonly best: string;
  readonly variants: readonly VariantTiming[];
}

export interface TimeVariantsOptions {
  /** About how long each variant is timed, in milliseconds. Default 100. */
  readonly time?: number;
  /** Called before each variant: classes done, classes in all, and what comes now. */
  readonly onProgress?: (done: number, total: number, what: string) => void;
}

/** How far a variant may be from the plainest one, of the largest result: f32 sums of thousands in another order. */
const AGREEMENT = { f32: 2e-5, f16: 2e-3 };
/** A variant must be so much faster than the rule's to be taken: a thirtieth is noise. */
const GAIN = 0.97;
/** Variants slower than this many times the fastest so far are not timed more than once. */
const HOPELESS = 3;
const ROUNDS = 5;

/** Calls `fn` and lists the problems that it launches until it is done, one a class. */
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
 * against the plainest: one whose results differ, or that does not compile, is refused. Rounds of the variants go in
 * turn, so that a disturbance meets all of them.
 */
export async function timeVariants(
  engine: Engine,
  launched: readonly Launched[],
  options: TimeVariantsOptions = {},
): Promise<ClassTimings[]> {
  const results: ClassTimings[] = [];
  for (const one of launched)
    results.push(await timeClass(engine, one, options, [results.length, launched.length]));
  return results;
}

/** A variant that is right, as a program. */
interface Runner {
  readonly name: string;
  readonly program: Program<void>;
  readonly times: number;
  milliseconds: number;
}

async function timeClass(
  engine: Engine,
  { key, family, problem }: Launched,
  { time = 100, onProgress }: TimeVariantsOptions,
  [done, total]: readonly [number, number],
): Promise<ClassTimings> {
  const { scratch, tensors, output } = await scratchOf(engine, problem);
  const variants = family.variants.filter((variant) => variant.supports(scratch));
  const rule = family.rule(scratch).name;
  const refused: VariantTiming[] = [];
  const runners: Runner[] = [];
  let want: Float32Array | undefined;
  try {
    for (const variant of variants) {
      onProgress?.(done, total, `${key}: ${variant.name}`);
      try {
        const got = await resultOf(engine, variant, scratch, output);
        want ??= got;
        const wrong = difference(got, want, AGREEMENT[output.dtype === 'f32' ? 'f32' : 'f16']);
        if (wrong !== undefined) refused.push({ name: variant.name, refused: wrong });
        else runners.push(await runnerOf(engine, variant, scratch, time));
      } catch (cause) {
        if (!(cause instanceof EliError) || cause.code === 'DEVICE_LOST') throw cause;
        refused.push({ name: variant.name, refused: cause.message });
      }
    }
    const fastest = Math.min(...runners.map((runner) => runner.milliseconds));
    const hopeful = runners.filter((runner) => runner.milliseconds <= HOPELESS * fastest);
    for (let round = 0; round < ROUNDS; round++)
      for (const runner of hopeful)
        runner.milliseconds = Math.min(runner.milliseconds, await timed(engine, runner));
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

/** The problem on buffers of its own: inputs of random numbers from −1 to 1, an output of zeros. */
async function scratchOf(
  engine: Engine,
  problem: Problem,
): Promise<{ scratch: Problem; tensors: Tensor[]; output: Tensor }> {
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
  // What an earlier variant left there would make one that writes nothing look right.
  fill(output, 0);
  engine.tidy(() => variant.launch(scratch));
  return output.readFloats();
}

/** What is wrong with a result, if anything. */
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
  const once: Runner = { name: variant.name, program, times: 1, milliseconds: 0 };
  const first = await timed(engine, once);
  const times = Math.max(1, Math.floor(time / ROUNDS / Math.max(first, 1e-3)));
  return { ...once, times, milliseconds: first };
}

/** Milliseconds of one launch. */
async function timed(engine: Engine, { program, times }: Runner): Promise<number> {
  const start = performance.now();
  program.run(times);
  await engine.sync();
  return (performance.now() - start) / times;
}

function bestOf(runners: readonly Runner[], rule: string): string {
  const byRule = runners.find((runner) => runner.name === rule);
  const best = runners.reduce((a, b) => (b.milliseconds < a.milliseconds ? b : a));
  if (byRule === undefined) return best.name;
  return best.milliseconds < GAIN * byRule.milliseconds ? best.name : rule;
}

/** What `autotune` measures, and where it keeps it. */
export interface AutotuneOptions extends TimeVariantsOptions {
  /** A file of measurements: classes that it has for this adapter and driver are not measured again, new ones are added. */
  readonly cache?: string;
}

/**
 * Runs `fn` once, measures the variants of the kernels that it launched (those of matmul, linear and the convolutions
 * have variants), and takes the fastest for each class of shapes on this engine from now on. Programs that were captured
 * before keep what they have. A variant whose results are not those of the plainest is never taken.
 *
 * @param fn applies ops, without waiting; what it makes is freed.
 * @returns the classes that were measured now.
 * @throws EliError `FILE` or `FORMAT` for a cache that cannot be read or written.
 */
export async function autotune(
  engine: Engine,
  fn: () => unknown,
  options: AutotuneOptions = {},
): Promise<ClassTimings[]> {
  const { cache } = options;
  const known: Tuning = cache === undefined ? new Map() : await readTuning(cache, engine.adapter);
  const launched = await launchesOf(() => engine.tidy(() => void fn()));
  const unknown = launched.filter(({ key }) => !known.has(key));
  const timings = await timeVariants(engine, unknown, options);
  for (const { key, best } of timings) known.set(key, best);
  take(engine, known);
  if (cache !== undefined && timings.length > 0) await addToTuning(engine, cache, timings);
  return timings;
}

/** Adds the best variants of `timings` to a file. */
export async function addToTuning(
  engine: Engine,
  file: string,
  timings: readonly ClassTimings[],
): Promise<void> {
  const known = await readTuning(file, engine.adapter);
  for (const { key, best } of timings) known.set(key, best);
  await saveTuning(file, engine.adapter, known);
}

function take(engine: Engine, tuning: Tuning): void {
  for (const [key, name] of tuning) choices(engine).set(key, name);
}

/**
 * Takes the variants that a file of `autotune` names for this engine's adapter and driver; other adapters' are left.
 * @returns how many classes it has for this adapter.
 * @throws EliError `FILE` when it cannot be read, `FORMAT` when it is no such file.
 */
export async function loadTuning(engine: Engine, file: string): Promise<number> {
  const known = await readTuning(file, engine.adapter, { missing: 'error' });
  take(engine, known);
  return known.size;
}
