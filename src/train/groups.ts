import type { Module } from '../nn/module.ts';
import type { ParameterGroup } from '../optim/optimizer.ts';

/**
 * A module's parameters in the two usual groups: weight decay for weights of two or more dimensions, none for biases,
 * scales and the parameters of normalisation.
 */
export function decayGroups(model: Module): ParameterGroup[] {
  const parameters = model.parameters();
  const groups: ParameterGroup[] = [
    { parameters: parameters.filter((p) => p.rank > 1) },
    { parameters: parameters.filter((p) => p.rank <= 1), weightDecay: 0 },
  ];
  return groups.filter((group) => group.parameters.length > 0);
}
