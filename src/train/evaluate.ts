import { noGrad } from '../autograd/tape.ts';
import type { Module } from '../nn/module.ts';
import { rangeTensor } from './features.ts';
import { inPrecision, type Precision } from './objective.ts';
import type { LabelledSamples, TrainingSamples } from './samples.ts';

/** How well a classifier does on a set of samples. */
export interface Evaluation {
  /** Mean cross-entropy. */
  readonly loss: number;
  /** Percentage of samples whose label has the largest output, and one of the five largest. */
  readonly top1: number;
  readonly top5: number;
  /** Counts [classes, classes]: samples of the row's class that were classified as the column's. */
  readonly confusion: readonly number[][];
}

/**
 * Evaluates a classifier on all samples, in evaluation mode and without augmentation; its mode is restored afterwards.
 * The measures are computed in float64 on the CPU. Among equal outputs, that of the smaller class ranks first.
 */
export async function evaluate(
  model: Module,
  samples: TrainingSamples & Pick<LabelledSamples, 'classes'>,
  options: { batch?: number; precision?: Precision; onProgress?: (done: number) => void } = {},
): Promise<Evaluation> {
  const { batch = 256, precision = 'f32', onProgress } = options;
  const { engine } = model.parameters()[0]!;
  const { count, classes } = samples;
  const wasTraining = model.training;
  const confusion = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
  let [loss, top1, top5] = [0, 0, 0];
  model.train(false);
  try {
    for (let first = 0; first < count; first += batch) {
      const rows = Math.min(batch, count - first);
      const [output, labels] = engine.tidy(() =>
        noGrad(engine, () => {
          const index = rangeTensor(engine, first, first + rows);
          const output = model.forward(inPrecision(precision, samples.inputs(index)));
          return [output, samples.labels(index)] as const;
        }),
      );
      const [values, targets] = await Promise.all([output.readFloats(), labels.read()]);
      output.dispose();
      labels.dispose();
      for (let row = 0; row < rows; row++) {
        const logits = values.subarray(row * classes, (row + 1) * classes);
        const label = targets[row]!;
        let [rank, best] = [0, 0];
        logits.forEach((value, k) => {
          if (value > logits[label]! || (value === logits[label]! && k < label)) rank++;
          if (value > logits[best]!) best = k;
        });
        if (rank === 0) top1++;
        if (rank < 5) top5++;
        confusion[label]![best]!++;
        const sum = logits.reduce((total, value) => total + Math.exp(value - logits[best]!), 0);
        loss += Math.log(sum) + logits[best]! - logits[label]!;
      }
      onProgress?.(first + rows);
    }
  } finally {
    model.train(wasTraining);
  }
  return { loss: loss / count, top1: (100 * top1) / count, top5: (100 * top5) / count, confusion };
}
