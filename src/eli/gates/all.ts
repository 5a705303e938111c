import { EliError } from '../../errors.ts';
import { brief, isRecord } from '../../files/json.ts';
import type { Safetensors, SafetensorsInput } from '../../files/safetensors.ts';
import type { Gate, GateState } from './gate.ts';
import { ConfidenceGate, EnergyGate, HeadsGate } from './heads.ts';
import { NoveltyGate } from './novelty.ts';
import { StatisticsGate } from './statistics.ts';
import { SumGate } from './sum.ts';
import { TransformGate } from './transforms.ts';

export { Gate, type GateBatch, type GateData, type GateState, quantileOf } from './gate.ts';
export { ConfidenceGate, EnergyGate, HeadsGate } from './heads.ts';
export { type GaussianSettings, type GaussianSource, NoveltyGate } from './novelty.ts';
export { StatisticsGate, TaskStatistics } from './statistics.ts';
export { type Combine, SumGate } from './sum.ts';
export { TransformGate, type TransformSettings } from './transforms.ts';

/** A gate as a safetensors file holds it: tensors with a prefix, and one line of metadata. */
export interface EncodedGate {
  readonly tensors: Record<string, SafetensorsInput>;
  readonly metadata: Record<string, string>;
}

const KEY = 'gate';

interface Head {
  readonly kind: string;
  /** A threshold of a gate that was not calibrated is null: JSON has no NaN. */
  readonly threshold: number | null;
  readonly settings: Record<string, unknown>;
  readonly parts?: readonly Head[];
}

/** A gate for a safetensors file, beside whatever else is in it: tensors `gate.…`, metadata `gate`. */
export function encodeGate(gate: Gate): EncodedGate {
  const tensors: Record<string, SafetensorsInput> = {};
  const head = encode(gate, `${KEY}.`, tensors);
  return { tensors, metadata: { [KEY]: JSON.stringify(head) } };
}

function encode(gate: Gate, prefix: string, into: Record<string, SafetensorsInput>): Head {
  const { kind, settings, tensors } = gate.state();
  for (const [name, entry] of Object.entries(tensors)) into[prefix + name] = entry;
  const threshold = Number.isNaN(gate.threshold) ? null : gate.threshold;
  const parts =
    gate instanceof SumGate
      ? { parts: gate.parts.map((part, i) => encode(part, `${prefix}${i}.`, into)) }
      : {};
  return { kind, threshold, settings: { ...settings }, ...parts };
}

/** The gate in a file, `undefined` where there is none. @throws EliError `FORMAT` when it is not whole */
export function decodeGate(file: Safetensors): Gate | undefined {
  const text = file.metadata[KEY];
  if (text === undefined) return undefined;
  try {
    return decode(JSON.parse(text), `${KEY}.`, file.tensors);
  } catch (cause) {
    throw new EliError('FORMAT', `the gate is not whole: ${(cause as Error).message}`, { cause });
  }
}

/** Sums of sums of sums: no gate is made of more. */
const MAX_DEPTH = 4;

function checkHead(head: unknown, depth: number): asserts head is Head {
  const { kind, threshold, settings, parts } = isRecord(head) ? head : {};
  const bad =
    (!isRecord(head) && `${brief(head)} is no object`) ||
    (typeof kind !== 'string' && `its kind is ${brief(kind)}`) ||
    (threshold !== null && !Number.isFinite(threshold) && `its threshold is ${brief(threshold)}`) ||
    (!isRecord(settings) && `its settings are ${brief(settings)}`) ||
    (parts !== undefined && !Array.isArray(parts) && `its parts are ${brief(parts)}`) ||
    (depth > MAX_DEPTH && `it is a sum of sums ${depth} deep`);
  if (bad) throw new EliError('FORMAT', bad);
}

function decode(head: unknown, prefix: string, all: Safetensors['tensors'], depth = 0): Gate {
  checkHead(head, depth);
  const tensors = Object.fromEntries(
    Object.entries(all)
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, entry]) => [name.slice(prefix.length), entry]),
  );
  const parts = head.parts?.map((part, i) => decode(part, `${prefix}${i}.`, all, depth + 1));
  return gateFromState({ ...head, threshold: head.threshold ?? Number.NaN, tensors }, parts);
}

/** The gate that `state` described; a sum needs its parts. @throws EliError `FORMAT` */
export function gateFromState(state: GateState, parts: readonly Gate[] = []): Gate {
  const bare = (gate: Gate): Gate => {
    gate.threshold = state.threshold;
    return gate;
  };
  switch (state.kind) {
    case 'energy':
      return bare(new EnergyGate());
    case 'confidence':
      return bare(new ConfidenceGate());
    case 'heads':
      return bare(new HeadsGate());
    case 'novelty':
      return NoveltyGate.fromState(state);
    case 'statistics':
      return StatisticsGate.fromState(state);
    case 'transforms':
      return TransformGate.fromState(state);
    case 'sum':
      return SumGate.fromState(state, parts);
    default:
      throw new EliError('FORMAT', `there is no kind of gate ${brief(state.kind)}`);
  }
}
