import { checkWhole, EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { copyInto, slice } from '../ops/views.ts';
import { empty } from '../tensor/create.ts';
import { expectShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { checkPoints } from './energy.ts';

/**
 * Points of persistent chains on the device, [capacity, d]. Batches of n take turns: each is taken, moved by a sampler and
 * written back in its place, so that all chains have the same age and no row is taken twice in a round.
 *
 * Inside `engine.capture` a take is recorded with its place: a captured program should take capacity / n batches, or the
 * capacity should be n.
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
      const message = `ReplayBuffer: capacity ${capacity} is not a multiple of batch ${batch}`;
      throw new EliError('ARGUMENT', message);
    }
    this.engine = points.engine;
    this.batch = batch;
    this.points = this.engine.keep(empty(this.engine, points.shape));
    copyInto(points, this.points, this.points.strides, 0);
  }

  /** The next rows, [batch, d]: a view, which `put` overwrites. */
  take(): Tensor {
    const first = this.#cursor * this.batch;
    return slice(this.points, 0, first, first + this.batch);
  }

  /** Overwrites the rows that `take` returned, and moves to the next. @throws EliError `SHAPE`. */
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
