import type { Engine } from '../../gpu/engine.ts';
import type { Storage } from '../../gpu/storage.ts';
import { type FloatDType, floatDType, type Tensor } from '../../tensor/tensor.ts';

/** Where a kernel reads or writes. A family adds strides. */
export interface Operand {
  readonly storage: Storage<Engine>;
  /** First element, in elements. */
  readonly offset: number;
  readonly dtype: FloatDType;
}

/** What a family of kernels computes: `output` from `inputs`. A family adds what else its kernels need. */
export interface Problem {
  readonly inputs: readonly (Operand | undefined)[];
  readonly output: Operand;
}

export function operandOf(tensor: Tensor): Operand {
  const { storage, offset } = tensor;
  return { storage, offset, dtype: floatDType('operand', tensor) };
}

/** A kernel with its tile: one way to compute the problems of a family. */
export interface Variant<P extends Problem> {
  /** Kernel and tile, unique in the family, such as `subgroup 16×64`. */
  readonly name: string;
  /** Whether it can compute this problem on this problem's engine. */
  readonly supports: (problem: P) => boolean;
  readonly launch: (problem: P) => void;
}

/** How a kernel cuts C: rows and columns per workgroup, and the constants that set its tile. */
export interface Tile {
  readonly file: string;
  readonly rows: number;
  readonly columns: number;
  readonly consts?: Readonly<Record<string, number>>;
  readonly overrides?: Readonly<Record<string, number>>;
}

/**
 * Makes variants of one dispatch each. `tileOf` returns how the kernel cuts a problem, given the lanes of a subgroup where
 * their number is fixed, or undefined where the kernel cannot compute it; `run` dispatches.
 */
export function variantsOf<P extends Problem, T extends Tile>(run: (problem: P, tile: T) => void) {
  return (name: string, tileOf: (problem: P, lanes: number | undefined) => T | undefined): Variant<P> => {
    const tile = (problem: P) => tileOf(problem, problem.output.storage.engine.subgroupLanes);
    return {
      name,
      supports: (problem) => tile(problem) !== undefined,
      launch: (problem) => run(problem, tile(problem)!),
    };
  };
}

/** Kernels that compute the same function. */
export interface Family<P extends Problem> {
  readonly name: string;
  /** The first is the plainest: the others are checked against it. */
  readonly variants: readonly Variant<P>[];
  /** The variant to use without measurements; it supports the problem. */
  readonly rule: (problem: P) => Variant<P>;
  /** Problems of one class are expected to have the same fastest variant. */
  readonly classOf: (problem: P) => string;
  /** Floating-point operations of a problem. */
  readonly flops: (problem: P) => number;
}

/** Names of the measured best variants by `family: class`, for each engine. */
const chosen = new WeakMap<Engine, Map<string, string>>();

/** The variants chosen for an engine by class of problem. Entries set here apply to later launches. */
export function choices(engine: Engine): Map<string, string> {
  const map = chosen.get(engine) ?? new Map<string, string>();
  chosen.set(engine, map);
  return map;
}

export function classKey<P extends Problem>(family: Family<P>, problem: P): string {
  return `${family.name}: ${family.classOf(problem)}`;
}

// biome-ignore lint/suspicious/noExplicitAny: families of every problem type
type Observer = (family: Family<any>, problem: any, variant: Variant<any>) => void;

let observer: Observer | undefined;

/** Calls `fn` with each problem that is launched from now on; `undefined` stops it. */
export function observeLaunches(fn: Observer | undefined): void {
  observer = fn;
}

/** Launches the variant chosen for the problem's class if it supports this problem, else that of the family's rule. */
export function launchBest<P extends Problem>(family: Family<P>, problem: P): void {
  const map = choices(problem.output.storage.engine);
  const name = map.size > 0 ? map.get(classKey(family, problem)) : undefined;
  const choice = family.variants.find((v) => v.name === name);
  const variant = choice?.supports(problem) === true ? choice : family.rule(problem);
  observer?.(family, problem, variant);
  variant.launch(problem);
}

/** `n` rounded up to a power of two: sizes of one class are at most a factor of two apart. */
export function sizeBucket(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
}
