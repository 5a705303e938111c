// The aligner's iteration: a chain of 30 Langevin steps without noise from the current model's latents, the contrastive
// loss, RMSprop, the moving average. Ours draws its mini-batches on the device; the peers get theirs ready-made.
import { EnergyAligner, type Engine, tensor } from '../../src/index.ts';
import type { Comparison, Contender } from './compare.mts';
import { eliIterations, type Hyper } from './eli-float64.mts';
import { eliJax } from './eli-jax.mts';
import {
  BATCH,
  BATCHES,
  CHECKED,
  changes,
  type EliProblem,
  eliProblem,
  HIDDEN,
  SAMPLES,
} from './eli-problem.mts';
import { eliTensorFlow } from './eli-tfjs.mts';
import { type Libraries, OURS } from './libraries.mts';
import type { Torch } from './torch.mts';

/** As an app uses it: it reads the losses every so many iterations as a round has. */
export function eliOurs(engine: Engine, problem: EliProblem): Contender {
  const { d, hyper, checked } = problem;
  const pairs = {
    previous: tensor(engine, problem.previous, [SAMPLES, d]),
    current: tensor(engine, problem.current, [SAMPLES, d]),
  };
  let fitting: ReturnType<typeof EnergyAligner.fitting> | undefined;
  let every = 0;
  return {
    library: OURS,
    run: async (times) => {
      if (fitting === undefined || every !== times) {
        // Ends the fit before, which frees what it holds.
        await fitting?.return(undefined as never);
        fitting = EnergyAligner.fitting(engine, pairs, { ...hyper, iterations: 1e9 }, { every: times });
        every = times;
      }
      await fitting.next();
    },
    result: async () => {
      const order = Uint32Array.from({ length: CHECKED * BATCH }, (_, i) => i);
      const aligner = await EnergyAligner.fit(engine, pairs, { ...checked, iterations: CHECKED }, { order });
      const { model, average } = await aligner.state();
      aligner.dispose();
      return changes(
        problem,
        [...Object.values(model), ...Object.values(average)].map((entry) => entry.data),
      );
    },
  };
}

export type TorchWay = 'autograd' | 'closed form' | 'hidden layer';
export type TorchMode = 'eager' | 'compile' | 'graph';

export async function eliTorch(
  torch: Torch,
  problem: EliProblem,
  way: TorchWay,
  { library, mode, device }: { library: string; mode: TorchMode; device: 'cpu' | 'cuda' },
): Promise<Contender> {
  const { d, weights } = problem;
  const settings = ({ learningRate, epsilon, emaDecay }: Hyper) => ({
    lr: learningRate,
    eps: epsilon,
    decay: emaDecay,
  });
  const shapes = [[HIDDEN, d], [HIDDEN], [1, HIDDEN], [1]];
  const inputs = Object.fromEntries(
    ['w1', 'b1', 'w2', 'b2'].map((name, i) => [name, { data: weights[i]!, shape: shapes[i]! }]),
  );
  const batches = (all: Float32Array) => ({
    data: all.subarray(0, BATCHES * BATCH * d),
    shape: [BATCHES, BATCH, d],
  });
  const check = { iterations: CHECKED, ...settings(problem.checked) };
  const contender = await torch.contender({
    library,
    task: 'eli',
    options: { way, mode, check, ...settings(problem.hyper) },
    inputs: { ...inputs, previous: batches(problem.previous), current: batches(problem.current) },
    device,
  });
  return { ...contender, result: async () => changes(problem, await contender.result()) };
}

/** What CHECKED iterations change, in float64. */
export const eliExpected = (problem: EliProblem): number[][] =>
  changes(problem, eliIterations(problem.weights, problem.batches.slice(0, CHECKED), problem.checked));

export async function eliComparison(libraries: Libraries, d: number): Promise<Comparison> {
  const { engine, jaxGpu, jaxWasm, tfGpu, tfWasm, torch } = libraries;
  const problem = await eliProblem(engine, d);
  const ways = ['autograd', 'closed form', 'hidden layer'] as const;
  return {
    name: `ELI iteration, d = ${d}`,
    unit: 'iterations/s',
    figure: (ms) => 1000 / ms,
    expected: () => eliExpected(problem),
    tolerance: 1e-4,
    contenders: [
      async () => eliOurs(engine, problem),
      ...[jaxGpu, jaxWasm].flatMap((jax) =>
        [false, true].map((byHand) => () => eliJax(jax, problem, byHand)),
      ),
      ...[tfGpu, tfWasm].flatMap((tf) =>
        [false, true].map((byHand) => () => eliTensorFlow(tf, problem, byHand)),
      ),
      ...ways.map((way) => async () => {
        const library = `PyTorch CPU, ${way}`;
        return torch && eliTorch(torch, problem, way, { library, mode: 'eager', device: 'cpu' });
      }),
    ],
  };
}
