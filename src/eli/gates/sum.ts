import { brief, EliError } from '../../errors.ts';
import { stateTensor } from '../../nn/state-file.ts';
import { quantileOf } from '../../report/stats.ts';
import { fitted, Gate, type GateBatch, type GateData, type GateState } from './gate.ts';

/**
 * How scores of different gates are made comparable, using the scores of held-out current-task data: `z` subtracts their
 * mean and divides by their standard deviation; `fisher` takes −log of the p-value, the share of held-out samples with a
 * higher score (Fisher's method of combining tests), which is robust to heavy tails.
 */
export type Combine = 'z' | 'fisher';

/** The sum of several gates' scores. */
export class SumGate extends Gate {
  readonly name: string;
  override readonly parts: readonly Gate[];
  readonly combine: Combine;
  /** Scores of the held-out data by each part, sorted. */
  #heldOut: Float32Array<ArrayBuffer>[] | undefined;

  constructor(parts: readonly Gate[], combine: Combine = 'fisher') {
    super();
    if (parts.length === 0) throw new EliError('ARGUMENT', 'a sum of gates needs at least one');
    this.parts = parts;
    this.combine = combine;
    this.name = parts.map((part) => part.name).join(' + ') + (combine === 'z' ? ' (z)' : '');
  }

  /** The gate with this state and these parts. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState, parts: readonly Gate[]): SumGate {
    const { combine } = settings;
    if (combine !== 'z' && combine !== 'fisher')
      throw new EliError('FORMAT', `combine is ${brief(combine)}, must be z or fisher`);
    const gate = new SumGate(parts, combine);
    gate.#heldOut = parts.map((_, i) => stateTensor('sum of gates', tensors, `held_out.${i}`));
    return gate;
  }

  override async fit(data: GateData): Promise<void> {
    for (const part of this.parts) await part.fit(data);
  }

  /** Sets the scales of the parts, the threshold of every part, and that of the sum, from held-out data. */
  override async calibrate(heldOut: GateBatch, quantile: number): Promise<void> {
    const scores: Float32Array[] = [];
    for (const part of this.parts) {
      // A sum has no scores before it has scales.
      if (part instanceof SumGate) await part.calibrate(heldOut, quantile);
      scores.push(await part.score(heldOut));
    }
    this.#heldOut = scores.map((values) => Float32Array.from(values).sort());
    this.parts.forEach((part, i) => {
      part.threshold = quantileOf(scores[i]!, quantile);
    });
    this.threshold = quantileOf(this.#sum(scores), quantile);
  }

  override async score(batch: GateBatch): Promise<Float32Array> {
    const scores: Float32Array[] = [];
    for (const part of this.parts) scores.push(await part.score(batch));
    return this.#sum(scores);
  }

  /** Scores of the parts on the same samples → their sum. */
  #sum(scores: readonly Float32Array[]): Float32Array {
    const heldOut = fitted(this.name, this.#heldOut, 'calibrated');
    const total = new Float32Array(scores[0]!.length);
    scores.forEach((values, i) => {
      const scale = this.combine === 'z' ? standard(heldOut[i]!) : surprise(heldOut[i]!);
      for (let j = 0; j < total.length; j++) total[j]! += scale(values[j]!);
    });
    return total;
  }

  override state(): GateState {
    const heldOut = fitted(this.name, this.#heldOut, 'calibrated');
    const tensors = Object.fromEntries(
      heldOut.map((data, i) => [`held_out.${i}`, { shape: [data.length], data }]),
    );
    return { kind: 'sum', settings: { combine: this.combine }, tensors };
  }
}

function standard(heldOut: Float32Array): (score: number) => number {
  const mean = heldOut.reduce((a, b) => a + b, 0) / heldOut.length;
  const variance = heldOut.reduce((a, b) => a + (b - mean) ** 2, 0) / heldOut.length;
  const scale = 1 / Math.sqrt(variance || 1);
  return (score) => (score - mean) * scale;
}

/** −log p with p = (samples that score higher + ½) / (samples + ½). */
function surprise(heldOut: Float32Array): (score: number) => number {
  const n = heldOut.length;
  return (score) => {
    let low = 0;
    let high = n;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (heldOut[middle]! < score) low = middle + 1;
      else high = middle;
    }
    return -Math.log((n - low + 0.5) / (n + 0.5));
  };
}
