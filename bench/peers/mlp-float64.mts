// Training steps of a network with one hidden layer in float64, written out.

/** Parameters [out, in], [out], twice, after SGD steps on mini-batches in the order of the samples. */
export function mlpSteps(
  weights: readonly ArrayLike<number>[],
  { images, labels }: { images: Float32Array; labels: Uint32Array },
  {
    batch,
    steps,
    learningRate,
    momentum,
  }: { batch: number; steps: number; learningRate: number; momentum: number },
): Float64Array[] {
  const values = weights.map((w) => Float64Array.from(w));
  const momenta = values.map((v) => new Float64Array(v.length));
  for (let step = 0; step < steps; step++) {
    const gradients = values.map((v) => new Float64Array(v.length));
    const inputs = values[0]!.length / values[1]!.length;
    for (let row = step * batch; row < (step + 1) * batch; row++) {
      addGradient(
        gradients,
        values,
        images.subarray(row * inputs, (row + 1) * inputs),
        labels[row]!,
        1 / batch,
      );
    }
    values.forEach((value, k) => {
      for (let i = 0; i < value.length; i++) {
        momenta[k]![i] = momentum * momenta[k]![i]! + gradients[k]![i]!;
        value[i]! -= learningRate * momenta[k]![i]!;
      }
    });
  }
  return values;
}

/** Adds `share` of the gradient of one sample's cross-entropy. */
function addGradient(
  [gw1, gb1, gw2, gb2]: Float64Array[],
  [w1, b1, w2, b2]: Float64Array[],
  x: Float32Array,
  label: number,
  share: number,
): void {
  const hidden = affine(w1!, b1!, x);
  const active = hidden.map((v) => Math.max(0, v));
  const exps = affine(w2!, b2!, active).map(Math.exp);
  const total = exps.reduce((a, b) => a + b, 0);
  const toLogits = exps.map((e, i) => share * (e / total - (i === label ? 1 : 0)));
  const toHidden = hidden.map((h, j) =>
    h > 0 ? toLogits.reduce((sum, g, i) => sum + g * w2![i * hidden.length + j]!, 0) : 0,
  );
  addOuter(gw2!, gb2!, toLogits, active);
  addOuter(gw1!, gb1!, toHidden, x);
}

/** W x + b. */
function affine(w: Float64Array, b: Float64Array, x: ArrayLike<number>): Float64Array {
  return b.map((start, row) => {
    let total = start;
    for (let i = 0; i < x.length; i++) total += w[row * x.length + i]! * x[i]!;
    return total;
  });
}

function addOuter(gw: Float64Array, gb: Float64Array, g: Float64Array, x: ArrayLike<number>): void {
  g.forEach((value, row) => {
    gb[row]! += value;
    for (let i = 0; i < x.length; i++) gw[row * x.length + i]! += value * x[i]!;
  });
}
