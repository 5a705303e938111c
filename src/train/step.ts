import { EliError } from '../errors.ts';
import { empty } from '../tensor/create.ts';
import { checkDType, type DType, type Tensor } from '../tensor/tensor.ts';

/**
 * Indices of the next minibatch: elements [step · size, (step + 1) · size) of `order` (u32), where `counter` (u32, one
 * element) holds the step on the device, so that a captured training step needs nothing from the CPU. After the last
 * whole minibatch of `order` comes its first one again.
 *
 * @throws EliError `DTYPE` or `ARGUMENT` when `order` or `counter` is no dense u32, or `order` holds no whole minibatch
 */
export function takeBatch(order: Tensor, counter: Tensor, size: number): Tensor {
  checkDense('takeBatch', 'order', order, 'u32');
  checkDense('takeBatch', 'counter', counter, 'u32');
  const batches = Math.floor(order.size / size);
  if (!(Number.isInteger(size) && size > 0 && batches > 0)) {
    throw new EliError('ARGUMENT', `takeBatch: ${order.size} indices hold no minibatch of ${size}`);
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
 * Ends a training step on the device: losses[step] = loss (one element), then the counter goes up by one. After the
 * last place of `losses` comes its first one again.
 *
 * @throws EliError `DTYPE` or `ARGUMENT` when a tensor is not dense, or not f32, f32 and u32
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
