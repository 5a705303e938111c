import type { Energy } from '../../src/ebm/energy.ts';
import type { Engine } from '../../src/gpu/engine.ts';
import { mul, sub } from '../../src/ops/binary.ts';
import { matmul } from '../../src/ops/matmul.ts';
import { sum } from '../../src/ops/reduce.ts';
import { logSumExp } from '../../src/ops/softmax.ts';
import { neg } from '../../src/ops/unary.ts';
import { reshape } from '../../src/ops/views.ts';
import { tensor } from '../../src/tensor/create.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** ½ (x − mean)ᵀ precision (x − mean): a Gaussian whose covariance is the inverse of `precision`. */
export function gaussianEnergy(
  engine: Engine,
  mean: readonly number[],
  precision: readonly (readonly number[])[],
): Energy {
  const d = mean.length;
  const centre = tensor(engine, mean, [1, d]);
  const matrix = tensor(engine, precision.flat(), [d, d]);
  return {
    energy(x: Tensor): Tensor {
      const away = sub(x, centre);
      return mul(sum(mul(matmul(away, matrix), away), 1), 0.5);
    },
  };
}

/** −log of an equal mixture of Gaussians of variance `variance` in every direction, without its constant. */
export function mixtureEnergy(
  engine: Engine,
  means: readonly (readonly number[])[],
  variance: number,
): Energy {
  const [k, d] = [means.length, means[0]!.length];
  const centres = tensor(engine, means.flat(), [1, k, d]);
  return {
    energy(x: Tensor): Tensor {
      const away = sub(reshape(x, [x.shape[0]!, 1, d]), centres);
      return neg(logSumExp(mul(sum(mul(away, away), 2), -0.5 / variance)));
    },
  };
}
