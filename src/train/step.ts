import { EliError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import { checkDType, type DType, type Tensor } from '../tensor/tensor.ts';

/**
 * Indices of the next mini-batch: elements [step · size, (step + 1) · size) of `order` (u32), where the first element of
 * `counter` (u32) is the step, so that a captured training step needs nothing from the CPU. The last complete mini-batch
 * of `order` is followed by the first.
 *
 * @throws EliError `DTYPE` or `ARGUMENT` when `order` or `counter` is not dense u32, or `order` has no complete mini-batch
 */
export function takeBatch(order: Tensor, counter: Tensor, size: number): Tensor {
  checkDense('takeBatch', 'order', order, 'u32');
  checkDense('takeBatch', 'counter', counter, 'u32');
  const batches = Math.floor(order.size / size);
  if (!(Number.isInteger(size) && size > 0 && batches > 0)) {
    throw new EliError('ARGUMENT', `takeBatch: ${order.size} indices hold no mini-batch of ${size}`);
  }
  const y = empty(order.engine, [size], 'u32');
  order.engine.run('gather/batch.wgsl', {
    storages: [order.storage, counter.storage, y.storage],
    params: { n: size, offset: order.offset, counter_offset: counter.offset, batches },
    groups: [Math.ceil(size / 64)],
  });
  return y;
}

/**
 * Ends a training step on the device: losses[step] = loss (one element), then the counter is incremented. The last place
 * of `losses` is followed by the first.
 *
 * @throws EliError `DTYPE` or `ARGUMENT` unless the tensors are dense f32, f32 and u32
 */
export function logStep(loss: Tensor, losses: Tensor, counter: Tensor): void {
  checkDense('logStep', 'loss', loss, 'f32');
  checkDense('logStep', 'losses', losses, 'f32');
  checkDense('logStep', 'counter', counter, 'u32');
  loss.engine.run('gather/log_step.wgsl', {
    storages: [loss.storage, losses.storage, counter.storage],
    params: {
      offset: loss.offset,
      losses_offset: losses.offset,
      counter_offset: counter.offset,
      places: losses.size,
    },
    groups: [1],
  });
}

function checkDense(what: string, name: string, tensor: Tensor, dtype: DType): void {
  checkDType(what, tensor, dtype);
  if (!tensor.isContiguous) {
    throw new EliError('ARGUMENT', `${what}: ${name} (${tensor.toString()}) is not dense`);
  }
}
