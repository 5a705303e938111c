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
import type { TensorFlow, Untyped } from './libraries.mts';

/** The aligner's iteration in TensorFlow.js. */
export async function eliTensorFlow(
  { library, tf, use }: TensorFlow,
  problem: EliProblem,
  byHand: boolean,
): Promise<Contender> {
  const { d } = problem;
  await use();
  const start = () => {
    const values = peerWeights(problem).map((w, i) => tf.variable(tf.tensor(w, PEER_SHAPES(d)[i])));
    const squares = values.map((v) => tf.variable(tf.zerosLike(v)));
    return { values, squares, averages: values.map((v) => tf.variable(v)) };
  };
  const batches = problem.batches.map(({ previous, current }) => ({
    previous: tf.tensor(previous, [BATCH, d]),
    current: tf.tensor(current, [BATCH, d]),
  }));
  const iterate = (
    { values, squares, averages }: ReturnType<typeof start>,
    k: number,
    { steps, stepSize, slope, alpha, learningRate, epsilon, emaDecay }: Hyper,
  ): void => {
    const [w1, b1, w2, b2] = values;
    const hidden = (x: Untyped): Untyped => tf.add(tf.matMul(x, w1), b1);
    const f = (x: Untyped): Untyped => tf.add(tf.matMul(tf.leakyRelu(hidden(x), slope), w2), b2);
    const { previous, current } = batches[k % BATCHES]!;
    tf.tidy(() => {
      const above = tf.reshape(w2, [1, -1]);
      const below = tf.mul(above, slope);
      const gradient = byHand
        ? (x: Untyped) => tf.matMul(tf.where(tf.greater(hidden(x), 0), above, below), w1, false, true)
        : tf.grad((x: Untyped) => tf.sum(f(x)));
      let x = current;
      for (let step = 0; step < steps; step++) x = tf.add(x, tf.mul(gradient(x), stepSize));
      const { grads } = tf.variableGrads(() => tf.sub(tf.mean(f(x)), tf.mean(f(previous))), values);
      values.forEach((value, i) => {
        const g = grads[value.name];
        squares[i].assign(tf.add(tf.mul(squares[i], alpha), tf.mul(tf.square(g), 1 - alpha)));
        value.assign(tf.sub(value, tf.div(tf.mul(g, learningRate), tf.add(tf.sqrt(squares[i]), epsilon))));
        averages[i].assign(tf.add(tf.mul(averages[i], emaDecay), tf.mul(value, 1 - emaDecay)));
      });
    });
  };
  const state = start();
  return {
    library: `${library}, ${byHand ? 'chain by hand' : 'autograd'}`,
    run: async (times) => {
      await use();
      for (let k = 0; k < times; k++) iterate(state, k, problem.hyper);
      // The last thing computed: reading it waits for all.
      await state.averages[3].data();
    },
    result: async () => {
      await use();
      const checked = start();
      for (let k = 0; k < CHECKED; k++) iterate(checked, k, problem.checked);
      const arrays: Float32Array[] = [];
      for (const t of [...checked.values, ...checked.averages]) arrays.push(await t.data());
      return peerChanges(problem, arrays);
    },
  };
}
