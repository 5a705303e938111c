// Iterations of the aligner in float64, written out: what every library's result is compared with.

/** Weights of an energy with one hidden layer of 64: w1 [64, d], b1 [64], w2 [1, 64], b2 [1]. */
export type EnergyWeights = readonly [
  ArrayLike<number>,
  ArrayLike<number>,
  ArrayLike<number>,
  ArrayLike<number>,
];

export interface Hyper {
  readonly steps: number;
  readonly stepSize: number;
  readonly slope: number;
  readonly alpha: number;
  readonly learningRate: number;
  readonly epsilon: number;
  readonly emaDecay: number;
}

/** Latents of a mini-batch before and after, [batch, d] each. */
export interface Batch {
  readonly previous: Float32Array;
  readonly current: Float32Array;
}

/** Weights and their moving averages after one iteration a batch: 4 + 4 arrays. */
export function eliIterations(
  weights: EnergyWeights,
  batches: readonly Batch[],
  hyper: Hyper,
): Float64Array[] {
  const values = weights.map((w) => Float64Array.from(w));
  const averages = values.map((v) => v.slice());
  const squares = values.map((v) => new Float64Array(v.length));
  for (const batch of batches) {
    const gradients = lossGradients(values, batch, hyper);
    values.forEach((value, k) => {
      for (let i = 0; i < value.length; i++) {
        const g = gradients[k]![i]!;
        const square = hyper.alpha * squares[k]![i]! + (1 - hyper.alpha) * g * g;
        squares[k]![i] = square;
        value[i]! -= (hyper.learningRate * g) / (Math.sqrt(square) + hyper.epsilon);
        averages[k]![i] = hyper.emaDecay * averages[k]![i]! + (1 - hyper.emaDecay) * value[i]!;
      }
    });
  }
  return [...values, ...averages];
}

/** Of mean f(sampled) − mean f(previous) by the weights. */
function lossGradients(weights: readonly Float64Array[], batch: Batch, hyper: Hyper): Float64Array[] {
  const [w1, b1, w2] = weights as [Float64Array, Float64Array, Float64Array];
  const hidden = b1.length;
  const d = w1.length / hidden;
  const rows = batch.current.length / d;
  const gradients = weights.map((w) => new Float64Array(w.length));
  const h = new Float64Array(hidden);
  const forward = (x: Float64Array): void => {
    for (let j = 0; j < hidden; j++) {
      let total = b1[j]!;
      for (let i = 0; i < d; i++) total += w1[j * d + i]! * x[i]!;
      h[j] = total;
    }
  };
  const slopeAt = (j: number): number => w2[j]! * (h[j]! > 0 ? 1 : hyper.slope);
  const accumulate = (x: Float64Array, factor: number): void => {
    forward(x);
    for (let j = 0; j < hidden; j++) {
      const s = factor * slopeAt(j);
      for (let i = 0; i < d; i++) gradients[0]![j * d + i]! += s * x[i]!;
      gradients[1]![j]! += s;
      gradients[2]![j]! += factor * h[j]! * (h[j]! > 0 ? 1 : hyper.slope);
    }
    gradients[3]![0]! += factor;
  };
  for (let row = 0; row < rows; row++) {
    const x = Float64Array.from(batch.current.subarray(row * d, (row + 1) * d));
    for (let step = 0; step < hyper.steps; step++) {
      forward(x);
      for (let j = 0; j < hidden; j++) {
        const s = hyper.stepSize * slopeAt(j);
        for (let i = 0; i < d; i++) x[i]! += s * w1[j * d + i]!;
      }
    }
    accumulate(x, 1 / rows);
    accumulate(Float64Array.from(batch.previous.subarray(row * d, (row + 1) * d)), -1 / rows);
  }
  return gradients;
}
