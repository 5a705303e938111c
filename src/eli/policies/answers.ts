import { argmax, max } from '../../ops/reduce.ts';
import { softmax } from '../../ops/softmax.ts';
import { withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Answers } from './scores.ts';

/** What a head answers with logits [n, classes]: its class of each sample, and the softmax probability of that class. */
export function answersOf(logits: Tensor): Promise<Answers> {
  return withScope(logits.engine, async (scope) => ({
    classes: await scope.own(() => argmax(logits)).read(),
    probability: await scope.own(() => max(softmax(logits), -1)).readFloats(),
  }));
}
