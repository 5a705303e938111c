import type { Module } from '../nn/module.ts';
import type { ParameterGroup } from '../optim/optimizer.ts';

/**
 * A module's parameters in two groups, as is usual: weight decay for weights of two and more dimensions, none for
 * biases, scales and the parameters of normalisation.
 */
export function decayGroups(model: Module): ParameterGroup[] {
  const parameters = model.parameters();
  const decayed = parameters.filter((p) => p.rank > 1);
  const free = parameters.filter((p) => p.rank <= 1);
  return [
    ...(decayed.length > 0 ? [{ parameters: decayed }] : []),
    ...(free.length > 0 ? [{ parameters: free, weightDecay: 0 }] : []),
  ];
}
