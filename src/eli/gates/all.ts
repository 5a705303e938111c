import type { Gate, GateState } from './gate.ts';
import { ConfidenceGate, EnergyGate, HeadsGate } from './heads.ts';
import { NoveltyGate } from './novelty.ts';
import { StatisticsGate } from './statistics.ts';
import { SumGate } from './sum.ts';
import { TransformGate } from './transforms.ts';

export { quantileOf } from '../../report/stats.ts';
export { Gate, type GateBatch, type GateData, type GateState } from './gate.ts';
export { ConfidenceGate, EnergyGate, HeadsGate } from './heads.ts';
export { NoveltyGate } from './novelty.ts';
export { StatisticsGate } from './statistics.ts';
export { type Combine, SumGate } from './sum.ts';
export { type GaussianSettings, TaskStatistics } from './task-statistics.ts';
export { TransformGate, type TransformSettings } from './transforms.ts';

/** A class of gates. */
export interface GateClass {
  /** The gate with this state; one that combines others is given them. @throws EliError `FORMAT` */
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
