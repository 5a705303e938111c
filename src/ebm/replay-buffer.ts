import { checkWhole, EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { copyInto, slice } from '../ops/views.ts';
import { empty } from '../tensor/create.ts';
import { expectShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkPoints } from './energy.ts';

/**
 * Points of persistent chains on the device, [capacity, d]. Batches of n take turns: each is taken, moved on by a
 * sampler, and written back in its place, so that all chains are of the same age and no row is taken twice.
 *
 * Inside `engine.capture` a take is recorded with its place: a captured program should hold capacity / n of them, or
 * the capacity be n.
 */
export class ReplayBuffer {
  readonly engine: Engine;
  readonly points: Tensor;
  /** Rows taken at once. */
  readonly batch: number;
  #cursor = 0;

  /**
   * @param points what the chains start from, [capacity, d]; copied
   * @throws EliError `SHAPE` or `DTYPE` for other points, `ARGUMENT` unless `batch` divides the capacity.
   */
  constructor(points: Tensor, batch: number) {
    checkPoints('ReplayBuffer', points);
    const capacity = points.shape[0]!;
    checkWhole('ReplayBuffer: batch', batch, 1);
    if (capacity % batch !== 0) {
      throw new EliError(
        'ARGUMENT',
        `ReplayBuffer: capacity ${capacity} is not a multiple of batch ${batch}`,
      );
    }
    this.engine = points.engine;
    this.batch = batch;
    this.points = this.engine.keep(empty(this.engine, points.shape));
    copyInto(points, this.points, this.points.strides, 0);
  }

  /** The rows whose turn it is, [batch, d]: a view, which `put` overwrites. */
  take(): Tensor {
    const first = this.#cursor * this.batch;
    return slice(this.points, 0, first, first + this.batch);
  }

  /** Overwrites the rows that `take` gave, and goes on to the next. @throws EliError `SHAPE`. */
  put(points: Tensor): void {
    const [capacity, d] = this.points.shape as [number, number];
    expectShape('ReplayBuffer.put: points', points.shape, [this.batch, d]);
    copyInto(points, this.points, [d, 1], this.#cursor * this.batch * d);
    this.#cursor = (this.#cursor + 1) % (capacity / this.batch);
  }

  /** Frees the points. */
  dispose(): void {
    this.points.dispose();
  }
}
