import { brief, EliError, isRecord } from '../../errors.ts';
import { readFormat } from '../../files/formats.ts';
import { type Safetensors, type SafetensorsInput, writeSafetensors } from '../../files/safetensors.ts';
import { stateFromTensors, stateToTensors } from '../../nn/state-file.ts';
import { GATES, type GateClass } from './all.ts';
import type { Gate, GateState } from './gate.ts';

const FORMAT = 'eli-webgpu gate';
/** Prefix of the tensors of a gate; those of its parts follow it with their number. */
const PREFIX = 'gate.';
/** Most levels of sums of sums. */
const MAX_DEPTH = 4;

/** A gate in the metadata of a file. */
interface GateRecord extends Omit<GateState, 'tensors'> {
  readonly kind: keyof typeof GATES;
  /** Null in a gate that was not calibrated: JSON has no NaN. */
  readonly threshold: number | null;
  readonly parts?: readonly GateRecord[];
}

/** Writes a gate to a safetensors file, atomically. @throws EliError `FILE`, `ARGUMENT` before `fit` */
export async function saveGate(path: string, gate: Gate): Promise<void> {
  const tensors: Record<string, SafetensorsInput> = {};
  const record = encode(gate, PREFIX, tensors);
  await writeSafetensors(path, tensors, { format: FORMAT, gate: JSON.stringify(record) });
}

function encode(gate: Gate, prefix: string, into: Record<string, SafetensorsInput>): GateRecord {
  const { kind, settings, tensors } = gate.state();
  Object.assign(into, stateToTensors(tensors, prefix));
  const threshold = Number.isNaN(gate.threshold) ? null : gate.threshold;
  const parts = gate.parts?.map((part, i) => encode(part, `${prefix}${i}.`, into));
  return { kind: kind as GateRecord['kind'], threshold, settings, ...(parts && { parts }) };
}

/** Reads a gate that `saveGate` wrote. @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong */
export function loadGate(path: string): Promise<Gate> {
  return readFormat(path, {
    [FORMAT]: ({ tensors, metadata }) => decode(JSON.parse(metadata.gate ?? 'null'), PREFIX, tensors, 0),
  });
}

function decode(record: unknown, prefix: string, all: Safetensors['tensors'], depth: number): Gate {
  checkRecord(record, depth);
  const parts = record.parts?.map((part, i) => decode(part, `${prefix}${i}.`, all, depth + 1)) ?? [];
  const made: GateClass = GATES[record.kind];
  const gate = made.fromState({ ...record, tensors: stateFromTensors(all, prefix) }, parts);
  gate.threshold = record.threshold ?? Number.NaN;
  return gate;
}

function checkRecord(record: unknown, depth: number): asserts record is GateRecord {
  const { kind, threshold, settings, parts } = isRecord(record) ? record : {};
  const known = typeof kind === 'string' && Object.hasOwn(GATES, kind);
  const bad =
    (!isRecord(record) && `its description is ${brief(record)}, not an object`) ||
    (!known && `there is no kind of gate ${brief(kind)}, known: ${Object.keys(GATES).join(', ')}`) ||
    (threshold !== null && !Number.isFinite(threshold) && `its threshold is ${brief(threshold)}`) ||
    (!isRecord(settings) && `its settings are ${brief(settings)}`) ||
    (parts !== undefined && !Array.isArray(parts) && `its parts are ${brief(parts)}`) ||
    (depth > MAX_DEPTH && `it is a sum of sums ${depth} deep`);
  if (bad) throw new EliError('FORMAT', bad);
}
