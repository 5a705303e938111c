import { empty } from '../tensor/create.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';

/**
 * Indices of the next minibatch: elements [step · size, (step + 1) · size) of `order` (u32), where `counter` (u32, one
 * element) holds the step on the device, so that a captured training step needs nothing from the CPU.
 */
export function takeBatch(order: Tensor, counter: Tensor, size: number): Tensor {
  checkDType('takeBatch', order, 'u32');
  checkDType('takeBatch', counter, 'u32');
  const y = empty(order.engine, [size], 'u32');
  order.engine.run('gather/batch.wgsl', {
    storages: [order.storage, counter.storage, y.storage],
    params: { n: size, offset: order.offset },
    groups: [Math.ceil(size / 64)],
  });
  return y;
}

/** Ends a training step on the device: losses[step] = loss (one element), then the counter goes up by one. */
export function logStep(loss: Tensor, losses: Tensor, counter: Tensor): void {
  loss.engine.run('gather/log_step.wgsl', {
    storages: [loss.storage, losses.storage, counter.storage],
    params: { offset: loss.offset },
    groups: [1],
  });
}
