import { EliError } from '../errors.ts';

/** Words of the buffer `faults` in shaders: see shaders/lib/faults.wgsl. */
export const FAULT_WORDS = 5;

/** Ops that report indices out of range; `fault` in the `Params` of their kernels is the place in this list. */
const ops: string[] = [];

/** The number by which an op's kernels name it to the engine. */
export function faultNumber(op: string): number {
  const known = ops.indexOf(op);
  return known === -1 ? ops.push(op) - 1 : known;
}

/** What the words on the device say, if an index was out of range. */
export function indexError(words: Uint32Array): EliError | undefined {
  const [count, op, index, rows, step] = words as unknown as [number, number, number, number, number];
  // A device that only pretends to compute (Dawn's null backend) returns whatever was in memory.
  if (count === 0 || index < rows || rows === 0 || op >= ops.length) return undefined;
  const where = step === 0 ? '' : ` in step ${step}`;
  return new EliError('INDEX', `${ops[op]}: index ${index} is out of range for ${rows} rows${where}`, {
    hint: 'look for labels or indices that are too large in the data; negative ones become large ones',
  });
}
