import { checkNumber, checkWhole, POSITIVE, SHARE_BELOW_1 } from '../errors.ts';
import { add, div, less, maximum, mul, sub } from '../ops/binary.ts';
import { cast } from '../ops/core/cast.ts';
import { toFloat } from '../ops/gather.ts';
import { crossEntropy, oneHot, pick } from '../ops/loss.ts';
import { argmax, mean, sum } from '../ops/reduce.ts';
import { logSoftmax } from '../ops/softmax.ts';
import { affine, exp, relu, sqrt } from '../ops/unary.ts';
import { reshape, slice } from '../ops/views.ts';
import { full } from '../tensor/create.ts';
import { expectShape } from '../tensor/shape.ts';
import { floatDType, type Tensor } from '../tensor/tensor.ts';

function checkSame(op: string, a: Tensor, b: Tensor): void {
  expectShape(op, a.shape, ['n', 'd']);
  expectShape(op, b.shape, a.shape);
}

// Losses compute in f32: what is f16 is cast first.

/**
 * Cross-entropy with soft targets, such as those of label smoothing and mixup:
 * −mean_n Σ_k shares[n, k] · log softmax(logits)[n, k], both [n, classes].
 */
export function softCrossEntropy(logits: Tensor, shares: Tensor): Tensor {
  checkSame('softCrossEntropy', logits, shares);
  return mul(sum(mul(logSoftmax(toFloat(logits)), toFloat(shares))), -1 / logits.shape[0]!);
}

/**
 * Cross-entropy with label smoothing (Szegedy et al., CVPR 2016), like PyTorch's `label_smoothing`: the targets share
 * `smoothing` among all classes. logits [n, classes], labels [n] (u32).
 */
export function smoothedCrossEntropy(logits: Tensor, labels: Tensor, smoothing: number): Tensor {
  checkNumber('smoothedCrossEntropy: smoothing', smoothing, SHARE_BELOW_1);
  const sharp = crossEntropy(logits, labels);
  if (smoothing === 0) return sharp;
  return sub(mul(sharp, 1 - smoothing), mul(mean(logSoftmax(toFloat(logits))), smoothing));
}

/**
 * Knowledge distillation with temperature T (Hinton et al., 2015; for incremental learning: Li and Hoiem, LwF, ECCV
 * 2016): T² · mean_n KL(softmax(reference / T) ‖ softmax(logits / T)), both [n, k]. Detach `reference` to leave it
 * without a gradient. iCaRL applies it to the logits of the old classes, times its weight β.
 */
export function distillation(logits: Tensor, reference: Tensor, temperature: number): Tensor {
  checkSame('distillation', logits, reference);
  checkNumber('distillation: temperature', temperature, POSITIVE);
  const teacher = logSoftmax(div(toFloat(reference), temperature));
  const student = logSoftmax(div(toFloat(logits), temperature));
  return mul(sum(mul(exp(teacher), sub(teacher, student))), temperature ** 2 / logits.shape[0]!);
}

/** Mean over the rows of ‖a − b‖², for features [n, d] that should not drift. */
export function featureDistance(a: Tensor, b: Tensor): Tensor {
  checkSame('featureDistance', a, b);
  const difference = sub(toFloat(a), toFloat(b));
  return div(sum(mul(difference, difference)), a.shape[0]!);
}

/**
 * Rows [n, d] divided by their Euclidean norm or, where that is smaller, by `epsilon`, which must be at least 1e-18 since
 * its square is an f32. Rows of zeros stay zeros; their gradient is the incoming one over `epsilon`, as in PyTorch's
 * `normalize`. f16 rows are normalised in f32 and cast back.
 */
export function normalizeRows(given: Tensor, epsilon = 1e-12): Tensor {
  const x = toFloat(given);
  // The bound is applied before the root, whose derivative at 0 is infinite: features after a ReLU may all be 0.
  const norms = sqrt(maximum(sum(mul(x, x), -1, true), full(x.engine, [1], epsilon ** 2)));
  return cast(div(x, norms), floatDType('normalizeRows', given));
}

/**
 * LUCIR's less-forget term (Hou et al., CVPR 2019, equation 6): mean_n 1 − cos(a_n, b_n) of features [n, d]. The paper
 * weights it by λ · √(classes now / classes before).
 */
export function cosineDistance(a: Tensor, b: Tensor): Tensor {
  checkSame('cosineDistance', a, b);
  const cosines = sum(mul(normalizeRows(toFloat(a)), normalizeRows(toFloat(b))), 1);
  return affine(mean(cosines), -1, 1);
}

/**
 * LUCIR's margin ranking (Hou et al., CVPR 2019, equation 8): for samples of old classes, the score of the right class
 * should exceed those of the `hardest` new classes with the largest scores (the first among equals) by `margin`:
 * mean max(0, margin − s_right + s_new) over those pairs, or 0 without such samples.
 * @param given cosines [n, classes], not yet scaled; the first `old` classes are old
 * @param labels [n] (u32)
 * @throws EliError `ARGUMENT` when `old` and `hardest` do not fit the scores; `SHAPE`, `DTYPE`
 */
export function marginRanking(
  given: Tensor,
  labels: Tensor,
  { old, hardest = 2, margin = 0.5 }: { old: number; hardest?: number; margin?: number },
): Tensor {
  const scores = toFloat(given);
  const classes = scores.shape[1]!;
  expectShape('marginRanking: scores', scores.shape, ['n', 'classes']);
  expectShape('marginRanking: labels', labels.shape, [scores.shape[0]!]);
  checkWhole('marginRanking: old', old, 1, classes - 1);
  checkWhole('marginRanking: hardest', hardest, 1, classes - old);
  const right = pick(scores, labels);
  const isOld = less(toFloat(labels), full(scores.engine, [1], old));
  let candidates = slice(scores, 1, old, classes);
  let total: Tensor | undefined;
  for (let k = 0; k < hardest; k++) {
    const largest = oneHot(argmax(candidates), classes - old);
    const hinge = relu(affine(sub(right, sum(mul(candidates, largest), 1)), -1, margin));
    const term = sum(mul(hinge, isOld));
    total = total === undefined ? term : add(total, term);
    // Exclude the largest from the next round.
    candidates = sub(candidates, mul(largest, 1e9));
  }
  const pairs = maximum(mul(sum(isOld), hardest), full(scores.engine, [1], 1));
  return div(total!, reshape(pairs, []));
}
