import { brief, EliError, isRecord } from '../../errors.ts';
import {
  readSafetensors,
  type Safetensors,
  type SafetensorsInput,
  writeSafetensors,
} from '../../files/safetensors.ts';
import { gateFromState } from './all.ts';
import type { Gate } from './gate.ts';

/** A gate as a safetensors file holds it: tensors with a prefix, and one line of metadata. */
export interface EncodedGate {
  readonly tensors: Record<string, SafetensorsInput>;
  readonly metadata: Record<string, string>;
}

const KEY = 'gate';

/** A gate in the metadata of a file. */
interface GateRecord {
  readonly kind: string;
  /** A threshold of a gate that was not calibrated is null: JSON has no NaN. */
  readonly threshold: number | null;
  readonly settings: Record<string, unknown>;
  readonly parts?: readonly GateRecord[];
}

/** A gate for a safetensors file, beside whatever else is in it: tensors `gate.…`, metadata `gate`. */
export function encodeGate(gate: Gate): EncodedGate {
  const tensors: Record<string, SafetensorsInput> = {};
  const record = encode(gate, `${KEY}.`, tensors);
  return { tensors, metadata: { [KEY]: JSON.stringify(record) } };
}

function encode(gate: Gate, prefix: string, into: Record<string, SafetensorsInput>): GateRecord {
  const { kind, settings, tensors } = gate.state();
  for (const [name, entry] of Object.entries(tensors)) into[prefix + name] = entry;
  const threshold = Number.isNaN(gate.threshold) ? null : gate.threshold;
  const parts = gate.parts?.map((part, i) => encode(part, `${prefix}${i}.`, into));
  return { kind, threshold, settings: { ...settings }, ...(parts && { parts }) };
}

/** The gate in a file, `undefined` where there is none. @throws EliError `FORMAT` when it is not complete */
export function decodeGate(file: Safetensors): Gate | undefined {
  const text = file.metadata[KEY];
  if (text === undefined) return undefined;
  try {
    return decode(JSON.parse(text), `${KEY}.`, file.tensors);
  } catch (cause) {
    throw new EliError('FORMAT', `the gate is not complete: ${(cause as Error).message}`, { cause });
  }
}

/** Sums of sums of sums: no gate is made of more. */
const MAX_DEPTH = 4;

function checkRecord(record: unknown, depth: number): asserts record is GateRecord {
  const { kind, threshold, settings, parts } = isRecord(record) ? record : {};
  const bad =
    (!isRecord(record) && `${brief(record)} is not an object`) ||
    (typeof kind !== 'string' && `its kind is ${brief(kind)}`) ||
    (threshold !== null && !Number.isFinite(threshold) && `its threshold is ${brief(threshold)}`) ||
    (!isRecord(settings) && `its settings are ${brief(settings)}`) ||
    (parts !== undefined && !Array.isArray(parts) && `its parts are ${brief(parts)}`) ||
    (depth > MAX_DEPTH && `it is a sum of sums ${depth} deep`);
  if (bad) throw new EliError('FORMAT', bad);
}

function decode(record: unknown, prefix: string, all: Safetensors['tensors'], depth = 0): Gate {
  checkRecord(record, depth);
  const tensors = Object.fromEntries(
    Object.entries(all)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, entry]) => [name.slice(prefix.length), entry]),
  );
  const parts = record.parts?.map((part, i) => decode(part, `${prefix}${i}.`, all, depth + 1));
  return gateFromState({ ...record, threshold: record.threshold ?? Number.NaN, tensors }, parts);
}

/** Writes a gate to a safetensors file of its own, atomically. @throws EliError `FILE` */
export async function saveGate(path: string, gate: Gate): Promise<void> {
  const { tensors, metadata } = encodeGate(gate);
  await writeSafetensors(path, tensors, { format: 'eli-webgpu gate', ...metadata });
}

/** Reads a gate that `saveGate` wrote. @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong */
export async function loadGate(path: string): Promise<Gate> {
  const file = await readSafetensors(path);
  let gate: Gate | undefined;
  try {
    gate = decodeGate(file);
  } catch (cause) {
    throw new EliError('FORMAT', `${path}: ${(cause as Error).message}`, { cause });
  }
  if (gate === undefined)
    throw new EliError('FORMAT', `${path} holds no gate`, { hint: 'make one with eli align gate' });
  return gate;
}
