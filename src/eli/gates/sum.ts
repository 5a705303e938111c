import { brief, EliError } from '../../errors.ts';
import { type SafetensorsEntry, type SafetensorsInput, toFloat32 } from '../../files/safetensors.ts';
import { Gate, type GateBatch, type GateData, type GateState, quantileOf } from './gate.ts';
import { fitted } from './novelty.ts';

/**
 * How scores of different gates are made comparable, by what held-out current-task data scores: `z` subtracts their
 * mean and divides by their standard deviation; `fisher` takes −log of the p-value, the share of held-out samples that
 * score higher (Fisher's method of combining tests), which heavy tails do not upset.
 */
export type Combine = 'z' | 'fisher';

/** The sum of several gates' scores. */
export class SumGate extends Gate {
  readonly name: string;
  override readonly parts: readonly Gate[];
  readonly combine: Combine;
  /** Scores of the held-out data of each part, in order. */
  #heldOut: Float32Array<ArrayBuffer>[] | undefined;

  constructor(parts: readonly Gate[], combine: Combine = 'fisher') {
    super();
    if (parts.length === 0) throw new EliError('ARGUMENT', 'a sum of gates needs at least one');
    this.parts = parts;
    this.combine = combine;
    this.name = parts.map((part) => part.name).join(' + ') + (combine === 'z' ? ' (z)' : '');
  }

  /** The gate that `state` described, of its parts, all but its threshold. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState, parts: readonly Gate[]): SumGate {
    const { combine } = settings;
    if (combine !== 'z' && combine !== 'fisher')
      throw new EliError('FORMAT', `combine is ${brief(combine)}, must be z or fisher`);
    const gate = new SumGate(parts, combine);
    gate.#heldOut = parts.map((_, i) => {
      const entry = tensors[`held_out.${i}`];
      if (entry === undefined) throw new EliError('FORMAT', `the gate's tensor held_out.${i} is missing`);
      return toFloat32(entry as SafetensorsEntry);
    });
    return gate;
  }

  override async fit(data: GateData): Promise<void> {
    for (const part of this.parts) await part.fit(data);
  }

  /** Takes the scales of the parts from the held-out data, then the threshold of the sum and of every part. */
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
    const heldOut = fitted(`${this.name} (not calibrated)`, this.#heldOut);
    const total = new Float32Array(scores[0]!.length);
    scores.forEach((values, i) => {
      const scale = this.combine === 'z' ? standard(heldOut[i]!) : surprise(heldOut[i]!);
      for (let j = 0; j < total.length; j++) total[j]! += scale(values[j]!);
    });
    return total;
  }

  /** What the gate is saved as; `fromState` makes it again. */
  override state(): GateState {
    const tensors: Record<string, SafetensorsInput> = {};
    fitted(`${this.name} (not calibrated)`, this.#heldOut).forEach((data, i) => {
      tensors[`held_out.${i}`] = { dtype: 'F32', shape: [data.length], data };
    });
    return { kind: 'sum', threshold: this.threshold, settings: { combine: this.combine }, tensors };
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
