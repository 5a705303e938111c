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

/** What a family of kernels computes: `output` from `inputs`. A family adds what else its kernels need to know. */
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

/** Kernels that compute the same. */
export interface Family<P extends Problem> {
  readonly name: string;
  /** The first is the plainest one: what the others are checked against. */
  readonly variants: readonly Variant<P>[];
  /** The variant to use where nothing was measured; it supports the problem. */
  readonly rule: (problem: P) => Variant<P>;
  /** Problems of one class are best served by the same variant. */
  readonly classOf: (problem: P) => string;
  /** Floating-point operations of a problem. */
  readonly flops: (problem: P) => number;
}

/** Names of the measured best variants by `family: class`, for each engine. */
const chosen = new WeakMap<Engine, Map<string, string>>();

/** The variants chosen for an engine by class of problem; what is set here is used from then on. */
export function choices(engine: Engine): Map<string, string> {
  let map = chosen.get(engine);
  if (map === undefined) {
    map = new Map();
    chosen.set(engine, map);
  }
  return map;
}

export function classKey<P extends Problem>(family: Family<P>, problem: P): string {
  return `${family.name}: ${family.classOf(problem)}`;
}

// biome-ignore lint/suspicious/noExplicitAny: families of every problem type
type Observer = (family: Family<any>, problem: any, variant: Variant<any>) => void;

let observer: Observer | undefined;

/** Calls `fn` with each problem of a family that is launched from now on; `undefined` ends that. */
export function observeLaunches(fn: Observer | undefined): void {
  observer = fn;
}

/**
 * Launches the variant that was chosen for the problem's class, else the one of the family's rule.
 * A chosen variant that does not support this very problem is passed over.
 */
export function launchBest<P extends Problem>(family: Family<P>, problem: P): void {
  const variant = bestVariant(family, problem);
  observer?.(family, problem, variant);
  variant.launch(problem);
}

function bestVariant<P extends Problem>(family: Family<P>, problem: P): Variant<P> {
  const map = chosen.get(problem.output.storage.engine);
  if (map !== undefined && map.size > 0) {
    const name = map.get(classKey(family, problem));
    const variant = family.variants.find((v) => v.name === name);
    if (variant?.supports(problem) === true) return variant;
  }
  return family.rule(problem);
}

/** `n` rounded up to a power of two: sizes of one class are at most a factor of two apart. */
export function sizeBucket(n: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, n)));
}
