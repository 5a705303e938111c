import { brief, EliError } from '../../errors.ts';
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

/** How a gate is made again from its state, all but the threshold; a gate that is made of others is given them. */
interface GateClass {
  fromState(state: GateState, parts: readonly Gate[]): Gate;
}

/** All gates, by the `kind` of their state. */
export const GATES = {
  energy: EnergyGate,
  confidence: ConfidenceGate,
  heads: HeadsGate,
  novelty: NoveltyGate,
  statistics: StatisticsGate,
  transforms: TransformGate,
  sum: SumGate,
} as const satisfies Record<string, GateClass>;

/** What kind of gate a saved state is of. */
export type GateKind = keyof typeof GATES;

/** The gate that `state` described; a sum needs its parts. @throws EliError `FORMAT` */
export function gateFromState(state: GateState, parts: readonly Gate[] = []): Gate {
  const { kind } = state;
  if (!Object.hasOwn(GATES, kind)) {
    throw new EliError('FORMAT', `there is no kind of gate ${brief(kind)}`, {
      hint: `known: ${Object.keys(GATES).join(', ')}`,
    });
  }
  const known: GateClass = GATES[kind as GateKind];
  const gate = known.fromState(state, parts);
  gate.threshold = state.threshold;
  return gate;
}
