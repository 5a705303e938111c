import { EnergyAligner, type Engine, randomNormal, tensor } from '../../src/index.ts';
import type { Batch, EnergyWeights, Hyper } from './eli-float64.mts';

export const [HIDDEN, BATCH] = [64, 128];
/** Pairs of latents of the MNIST experiment, and the mini-batches of them that the peers take in turn. */
export const [SAMPLES, BATCHES] = [29_404, 8];
/** Iterations that are compared with float64. */
export const CHECKED = 4;

export interface EliProblem {
  readonly d: number;
  /** At first, in PyTorch's layout: [out, in]. */
  readonly weights: EnergyWeights & readonly Float32Array[];
  /** [SAMPLES, d] each; the mini-batches are their first rows. */
  readonly previous: Float32Array<ArrayBuffer>;
  readonly current: Float32Array<ArrayBuffer>;
  readonly batches: readonly Batch[];
  readonly hyper: Hyper;
  /**
   * Of the iterations that are checked. With RMSprop's own ε the first steps are rate · sign(gradient), whatever the
   * gradient's size, and rounding decides where it is zero; with ε = 1 they follow the gradient.
   */
  readonly checked: Hyper;
}

export async function eliProblem(engine: Engine, d: number): Promise<EliProblem> {
  const previous = await randomNormal(engine, [SAMPLES, d], { seed: 1 }).readFloats();
  const shift = await randomNormal(engine, [SAMPLES, d], { seed: 2 }, 0.3, 0.3).readFloats();
  const current = previous.map((v, i) => v + shift[i]!);
  const part = (all: Float32Array, k: number): Float32Array =>
    all.subarray(k * BATCH * d, (k + 1) * BATCH * d);
  const hyper = {
    steps: 30,
    stepSize: 0.1,
    slope: 0.2,
    alpha: 0.99,
    learningRate: 1e-4,
    epsilon: 1e-8,
    emaDecay: d === 32 ? 0.99 : 0.89,
  };
  return {
    d,
    weights: await firstWeights(engine, d),
    previous,
    current,
    batches: Array.from({ length: BATCHES }, (_, k) => ({
      previous: part(previous, k),
      current: part(current, k),
    })),
    hyper,
    checked: { ...hyper, learningRate: 0.1, epsilon: 1 },
  };
}

/** Those that the aligner starts with. */
async function firstWeights(engine: Engine, d: number): Promise<EliProblem['weights']> {
  const latents = tensor(engine, new Float32Array(BATCH * d), [BATCH, d]);
  const aligner = await EnergyAligner.fit(engine, { previous: latents, current: latents }, { iterations: 0 });
  const [w1, b1, w2, b2] = Object.values((await aligner.state()).model).map((entry) => entry.data);
  aligner.dispose();
  latents.dispose();
  return [w1!, b1!, w2!, b2!];
}

/** What iterations changed, of weights and averages: one array each, for a single bias may not change at all. */
export function changes({ weights }: EliProblem, arrays: readonly ArrayLike<number>[]): number[][] {
  const from = (first: number): number[] =>
    weights.flatMap((w, k) => Array.from(w, (value, i) => arrays[first + k]![i]! - value));
  return [from(0), from(weights.length)];
}

/** Of a matrix [rows, columns]. */
export function transposed(values: ArrayLike<number>, rows: number, columns: number): Float32Array {
  return Float32Array.from(
    { length: rows * columns },
    (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!,
  );
}

/** The peers keep weights [in, out], with which they are faster. */
export const PEER_SHAPES = (d: number): number[][] => [[d, HIDDEN], [HIDDEN], [HIDDEN, 1], [1]];

export const peerWeights = ({ d, weights: [w1, b1, w2, b2] }: EliProblem): Float32Array[] =>
  [transposed(w1, HIDDEN, d), b1, w2, b2] as Float32Array[];

/** As `changes`, of weights and averages [in, out]. */
export function peerChanges(problem: EliProblem, arrays: readonly Float32Array[]): number[][] {
  const back = arrays.map((array, i) => (i % 4 === 0 ? transposed(array, problem.d, HIDDEN) : array));
  return changes(problem, back);
}
