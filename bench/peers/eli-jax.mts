import type { Contender } from './compare.mts';
import type { Hyper } from './eli-float64.mts';
import {
  BATCH,
  BATCHES,
  CHECKED,
  type EliProblem,
  PEER_SHAPES,
  peerChanges,
  peerWeights,
} from './eli-problem.mts';
import type { Jax, Untyped } from './libraries.mts';

/** The aligner's iteration in jax-js: all of it one compiled program, for one a step took longer on both back ends. */
export async function eliJax(jax: Jax, problem: EliProblem, byHand: boolean): Promise<Contender> {
  const { jit, grad, numpy: np, nn, blockUntilReady } = jax.lib;
  const { d, hyper } = problem;
  await jax.use();
  const refs = (list: Untyped[]): Untyped[] => list.map((t) => t.ref);
  const hidden = (w1: Untyped, b1: Untyped, x: Untyped): Untyped => np.matmul(x, w1).add(b1);
  const f = ([w1, b1, w2, b2]: Untyped[], x: Untyped): Untyped =>
    np.matmul(nn.leakyRelu(hidden(w1, b1, x), hyper.slope), w2).add(b2);
  const gradientByHand = ([w1, b1, w2, b2]: Untyped[], x: Untyped): Untyped => {
    b2.dispose();
    const above = w2.reshape([1, w2.shape[0]]);
    const s = np.where(hidden(w1.ref, b1, x).greater(0), above.ref, above.mul(hyper.slope));
    return np.matmul(s, np.transpose(w1));
  };
  const gradient = (p: Untyped[], x: Untyped): Untyped =>
    byHand ? gradientByHand(refs(p), x) : grad((y: Untyped) => np.sum(f(refs(p), y)))(x);
  const iteration = (
    p: Untyped[],
    squares: Untyped[],
    averages: Untyped[],
    batch: { previous: Untyped; current: Untyped },
    { rate, epsilon }: { rate: Untyped; epsilon: Untyped },
  ): Untyped[][] => {
    let x = batch.current;
    for (let step = 0; step < hyper.steps; step++) x = x.ref.add(gradient(p, x).mul(hyper.stepSize));
    const loss = (q: Untyped[]): Untyped => np.mean(f(refs(q), x)).sub(np.mean(f(q, batch.previous)));
    const gradients = grad(loss)(refs(p));
    const newSquares = squares.map((v, i) =>
      v.mul(hyper.alpha).add(np.square(gradients[i].ref).mul(1 - hyper.alpha)),
    );
    const values = p.map((v, i) =>
      v.sub(gradients[i].mul(rate.ref).div(np.sqrt(newSquares[i].ref).add(epsilon.ref))),
    );
    const newAverages = averages.map((v, i) =>
      v.mul(hyper.emaDecay).add(values[i].ref.mul(1 - hyper.emaDecay)),
    );
    rate.dispose();
    epsilon.dispose();
    return [values, newSquares, newAverages];
  };
  const program = jit(iteration);
  const batches = problem.batches.map(({ previous, current }) => ({
    previous: jax.array(previous, [BATCH, d]),
    current: jax.array(current, [BATCH, d]),
  }));
  const start = (): Untyped[][] => {
    const values = peerWeights(problem).map((w, i) => jax.array(w, PEER_SHAPES(d)[i]!));
    return [values, values.map((v) => np.zerosLike(v.ref)), refs(values)];
  };
  const settingsOf = ({ learningRate, epsilon }: Hyper) => ({
    rate: np.array(learningRate),
    epsilon: np.array(epsilon),
  });
  const step = (state: Untyped[][], k: number, { rate, epsilon }: ReturnType<typeof settingsOf>) => {
    const { previous, current } = batches[k % BATCHES]!;
    const batch = { previous: previous.ref, current: current.ref };
    return program(...state, batch, { rate: rate.ref, epsilon: epsilon.ref });
  };
  let state = start();
  const settings = settingsOf(hyper);
  return {
    library: `${jax.library}, ${byHand ? 'chain by hand' : 'autograd'}`,
    run: async (times) => {
      await jax.use();
      for (let k = 0; k < times; k++) state = step(state, k, settings);
      await blockUntilReady(state);
    },
    result: async () => {
      await jax.use();
      const checked = settingsOf(problem.checked);
      let [values, squares, averages] = start();
      for (let k = 0; k < CHECKED; k++)
        [values, squares, averages] = step([values!, squares!, averages!], k, checked);
      const arrays: Float32Array[] = [];
      for (const t of [...values!, ...averages!]) arrays.push(await t.data());
      return peerChanges(problem, arrays);
    },
  };
}
