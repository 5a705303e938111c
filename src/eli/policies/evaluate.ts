import { argmax, max } from '../../ops/reduce.ts';
import { softmax } from '../../ops/softmax.ts';
import { type Scope, withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { Gate, GateBatch, GateData } from '../gates/gate.ts';
import type { TaskStatistics } from '../gates/task-statistics.ts';
import {
  type Answers,
  auroc,
  type HeadAnswers,
  type PolicyScores,
  scorePolicy,
  type Truth,
  tradeoff,
} from './scores.ts';

/** Latents [n, d] → logits [n, classes], a new tensor. */
export type Head = (latents: Tensor) => Tensor;

/** Samples that policies are fitted to or measured on: their latents, and the samples themselves if a gate needs them. */
export interface PolicySamples {
  /** f32 [n, p] */
  readonly inputs?: Tensor;
  /** Latents by the current model, f32 [n, d]. */
  readonly current: Tensor;
}

/** A latent map, or one that also looks at the samples, such as the previous model itself. */
export interface SampleMap {
  /** Current latents [n, d] → aligned latents [n, d], a new tensor. */
  align(latents: Tensor, samples: PolicySamples): Tensor;
}

/** A gate to measure. */
export interface GateEntry {
  readonly gate: Gate;
  /** The statistics of the old task that it needs, if any; its threshold is then at `statisticsQuantile`. */
  readonly statistics?: TaskStatistics;
  /** Whether it sees latents aligned by the reference map, whatever map the policy uses. */
  readonly byReference?: boolean;
  /** Whether it was chosen in advance to represent its kind. */
  readonly chosen?: boolean;
  /** Whether its trade-off is measured; default: `chosen`. */
  readonly drawn?: boolean;
}

/** Share of held-out current-task samples below the threshold, for gates without and with saved statistics. */
export interface PolicyQuantiles {
  readonly gateQuantile: number;
  readonly statisticsQuantile: number;
}

export interface PolicyEvaluation extends PolicyQuantiles {
  /** What moves latents back, by name, in the order of the report's rows. */
  readonly maps: Readonly<Record<string, SampleMap>>;
  /** Name of the map whose aligned latents all gates are fitted to, and gates `byReference` are measured on. */
  readonly reference: string;
  readonly heads: { readonly old: Head; readonly new: Head };
  /** An aligner's energy of latents [n, d] → [n], a new tensor, for gates that need it. */
  readonly energy?: (latents: Tensor) => Tensor;
  readonly gates: readonly GateEntry[];
  /** Current-task data that gates are fitted to, with labels if they are known. */
  readonly fit: PolicySamples & Pick<GateData, 'labels'>;
  /** Other current-task data, to set the thresholds. */
  readonly heldOut: PolicySamples;
  readonly test: PolicySamples;
  /** The ground truth for the test samples. */
  readonly truth: Truth;
  /** Called with the name of the next stage: each gate's fit, then each map. What it throws ends the evaluation. */
  readonly onStage?: (stage: string) => void;
}

/** A row of the report: the scores of one policy with one map. */
export interface PolicyRow extends PolicyScores {
  /** Name of the map; `none` where nothing is aligned. */
  readonly map: string;
  /** `never`, `always`, `oracle`, or the name of a gate. */
  readonly policy: string;
  /** Whether the gate uses saved statistics of the old task. */
  readonly saved: boolean;
  readonly chosen: boolean;
  readonly auroc?: number;
}

/** Accuracies without labels, in %, as the threshold of a gate moves. */
export interface PolicyCurve extends Pick<PolicyRow, 'map' | 'policy' | 'saved'> {
  readonly points: readonly { readonly old: number; readonly new: number }[];
}

/** What `evaluatePolicies` measured. */
export interface PolicyResults {
  readonly rows: readonly PolicyRow[];
  readonly curves: readonly PolicyCurve[];
  /** Size of the old task's saved statistics in bytes, by gate. */
  readonly savedBytes: Readonly<Record<string, number>>;
}

/** The answers of a head with logits [n, classes]. */
export function answersOf(logits: Tensor): Promise<Answers> {
  return withScope(logits.engine, async (scope) => ({
    classes: await scope.own(() => argmax(logits)).read(),
    probability: await scope.own(() => max(softmax(logits), -1)).readFloats(),
  }));
}

/**
 * Measures every gate with every map, and aligning never, always, and by the ground truth (`oracle`). Gates see only
 * current-task data; only the oracle and the measurement see the truth.
 */
export function evaluatePolicies(evaluation: PolicyEvaluation): Promise<PolicyResults> {
  return withScope(evaluation.test.current.engine, (scope) => new Evaluator(evaluation, scope).run());
}

/** Samples as gates see them: before alignment, and aligned by one map. */
type Batch = PolicySamples & GateData & Required<Pick<GateBatch, 'newLogits'>>;
type AlignedBatch = Batch & Required<Pick<GateBatch, 'aligned' | 'oldLogits'>>;

/** Held-out and test samples, aligned by one map. */
interface MapView {
  readonly heldOut: AlignedBatch;
  readonly test: AlignedBatch;
}

class Evaluator {
  readonly #evaluation: PolicyEvaluation;
  /** For what is needed until the end; each map's tensors are freed after the map. */
  readonly #scope: Scope;
  readonly #rows: PolicyRow[] = [];
  readonly #curves: PolicyCurve[] = [];

  constructor(evaluation: PolicyEvaluation, scope: Scope) {
    this.#evaluation = evaluation;
    this.#scope = scope;
  }

  async run(): Promise<PolicyResults> {
    const { fit, heldOut, test, truth, gates, heads, maps, reference, onStage } = this.#evaluation;
    const before = { heldOut: this.#batch(heldOut), test: this.#batch(test) };
    const view = (map: string, scope: Scope): MapView => ({
      heldOut: this.#align(before.heldOut, map, scope),
      test: this.#align(before.test, map, scope),
    });
    const referenceView = view(reference, this.#scope);
    await this.#fitGates(this.#align(this.#batch(fit), reference, this.#scope));

    const oldCurrent = await answersOf(this.#scope.own(() => heads.old(test.current)));
    const newCurrent = await answersOf(before.test.newLogits);
    const never = { oldCurrent, newCurrent, oldAligned: oldCurrent, newAligned: newCurrent };
    this.#row('none', 'never', scorePolicy(never, truth, 'never'));
    for (const map of Object.keys(maps)) {
      onStage?.(`policies: ${map}`);
      await withScope(test.current.engine, async (scope) => {
        const own = map === reference ? referenceView : view(map, scope);
        const oldAligned = await answersOf(own.test.oldLogits);
        const newAligned = await answersOf(scope.own(() => heads.new(own.test.aligned)));
        await this.#measure(map, { oldCurrent, newCurrent, oldAligned, newAligned }, own, referenceView);
      });
    }
    const saved = gates.flatMap(({ gate, statistics }) =>
      statistics ? [[gate.name, statistics.bytes]] : [],
    );
    return { rows: this.#rows, curves: this.#curves, savedBytes: Object.fromEntries(saved) };
  }

  #batch(samples: PolicySamples & GateData): Batch {
    const { energy, heads } = this.#evaluation;
    return {
      ...samples,
      ...(energy && { energy: this.#scope.own(() => energy(samples.current)) }),
      newLogits: this.#scope.own(() => heads.new(samples.current)),
    };
  }

  #align(batch: Batch, map: string, scope: Scope): AlignedBatch {
    const { heads, maps } = this.#evaluation;
    const aligned = scope.own(() => maps[map]!.align(batch.current, batch));
    return { ...batch, aligned, oldLogits: scope.own(() => heads.old(aligned)) };
  }

  /** Fits each gate once, parts of sums included, however many policies share it. */
  async #fitGates(data: AlignedBatch): Promise<void> {
    const parts = (gate: Gate): readonly Gate[] => gate.parts?.flatMap(parts) ?? [gate];
    for (const gate of new Set(this.#evaluation.gates.flatMap((entry) => parts(entry.gate)))) {
      this.#evaluation.onStage?.(`gate: ${gate.name}`);
      await gate.fit(data);
    }
  }

  /** All policies with one map. */
  async #measure(map: string, answers: HeadAnswers, own: MapView, reference: MapView): Promise<void> {
    const { gates, truth, gateQuantile, statisticsQuantile } = this.#evaluation;
    this.#row(map, 'always', scorePolicy(answers, truth, 'always'));
    for (const entry of gates) {
      const { gate, statistics, byReference = false, chosen = false, drawn = chosen } = entry;
      const policy = this.#nameOf(entry, map);
      if (policy === undefined) continue;
      const saved = statistics !== undefined;
      const view = byReference ? reference : own;
      await gate.calibrate(view.heldOut, saved ? statisticsQuantile : gateQuantile);
      const scores = await gate.score(view.test);
      const decisions = Uint8Array.from(scores, (score) => (score > gate.threshold ? 1 : 0));
      const more = { saved, chosen, auroc: auroc(scores, truth.old) };
      this.#row(map, policy, { ...scorePolicy(answers, truth, decisions), ...more });
      if (drawn) this.#curves.push({ map, policy, saved, points: tradeoff(answers, truth, scores) });
    }
    this.#row(map, 'oracle', scorePolicy(answers, truth, truth.old));
  }

  /** Undefined where another entry is the same policy: with the reference map, `byReference` makes no difference. */
  #nameOf({ gate, byReference }: GateEntry, map: string): string | undefined {
    const { gates, reference } = this.#evaluation;
    if (byReference !== true) return gate.name;
    if (map !== reference) return gate.name.replace('heads', `heads (${reference})`);
    return gates.some((other) => other.gate === gate && other.byReference !== true) ? undefined : gate.name;
  }

  #row(map: string, policy: string, figures: PolicyScores & Partial<PolicyRow>): void {
    this.#rows.push({ map, policy, saved: false, chosen: false, ...figures });
  }
}
