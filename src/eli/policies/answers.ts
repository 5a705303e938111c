import { argmax, max } from '../../ops/reduce.ts';
import { softmax } from '../../ops/softmax.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Answers } from './scores.ts';

/** What a head answers with logits [n, classes]: its class of each sample, and the softmax probability of that class. */
export async function answersOf(logits: Tensor): Promise<Answers> {
  const { classes, probability } = logits.engine.tidy(() => ({
    classes: argmax(logits),
    probability: max(softmax(logits), -1),
  }));
  try {
    return { classes: await classes.read(), probability: await probability.readFloats() };
  } finally {
    classes.dispose();
    probability.dispose();
  }
}
