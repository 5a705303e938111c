import { noGrad } from '../autograd/tape.ts';
import { mul } from '../ops/binary.ts';
import { scatterAdd, toFloat } from '../ops/gather.ts';
import { mean, sum } from '../ops/reduce.ts';
import { sqrt } from '../ops/unary.ts';
import { expectShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { normalizeRows } from './losses.ts';

/**
 * Weights [classes, d] for new classes (Qi et al., CVPR 2018, in LUCIR's form): the mean of the normalised features of a
 * class, normalised again, times the mean norm of the old classes' weights.
 * @param features [n, d] of samples of the new classes
 * @param labels [n] (u32), from 0; a class without samples gets zeros
 * @param old weights of the old classes [k, d]
 */
export function imprintedWeights(features: Tensor, labels: Tensor, classes: number, old: Tensor): Tensor {
  expectShape('imprintedWeights: features', features.shape, ['n', 'd']);
  expectShape('imprintedWeights: old weights', old.shape, ['k', features.shape[1]!]);
  const { engine } = features;
  return engine.tidy(() =>
    noGrad(engine, () => {
      // The sum has the direction of the mean.
      const directions = normalizeRows(scatterAdd(normalizeRows(toFloat(features)), labels, classes));
      return mul(directions, mean(sqrt(sum(mul(old, old), 1))));
    }),
  );
}
