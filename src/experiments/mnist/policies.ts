import { holdOut } from '../../data/hold-out.ts';
import {
  ConfidenceGate,
  EnergyGate,
  HeadsGate,
  NoveltyGate,
  StatisticsGate,
  SumGate,
  TaskStatistics,
  TransformGate,
  type TransformSettings,
} from '../../eli/gates/all.ts';
import { fitMap } from '../../eli/maps/closed-forms.ts';
import type { LatentMap } from '../../eli/maps/map.ts';
import { CachedGate } from '../../eli/policies/cached-gate.ts';
import { evaluatePolicies, type GateEntry, type PolicyEvaluation } from '../../eli/policies/evaluate.ts';
import type { Linear } from '../../nn/layers.ts';
import { gather } from '../../ops/gather.ts';
import { concat } from '../../ops/views.ts';
import { tensor } from '../../tensor/create.ts';
import { type Scope, withScope } from '../../tensor/scope.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { forAllSamples } from '../../train/features.ts';
import type { LabelledSamples } from '../../train/samples.ts';
import type { PolicyReport, PolicySettings, ReportKind } from '../policy-report.ts';
import { classify, flat, latentsOf, type TwoTasks } from './two-task.ts';

export interface PolicyTrial extends PolicySettings {
  readonly seed: number;
  /** `train1` is only used for the saved statistics, which are collected while task 1 is learnt. */
  readonly sets: TwoTasks;
  /** The previous model, its head, and the current model. */
  readonly previous: Linear;
  readonly oldHead: Linear;
  readonly current: Linear;
  readonly newHead: Linear;
  readonly aligner: Required<Pick<LatentMap, 'align' | 'energy'>>;
  /** Settings of the transform gate that differ from its defaults. */
  readonly transforms?: Partial<TransformSettings>;
  /** Called with the name of each stage as it begins. */
  readonly onStage?: (stage: string) => void;
}

/** How often `onStage` is called. */
export const POLICY_STAGES: Readonly<Record<ReportKind, number>> = { short: 8, full: 14 };

/** Every sixth training image of task 2 is held out from the gates' fits, for their thresholds. */
const HOLD_OUT = 6;

/** Measures policies with the models of one seed. */
export function measurePolicies(trial: PolicyTrial): Promise<PolicyReport> {
  const { kind, seed, previous, current, oldHead, newHead, aligner, sets, onStage } = trial;
  return withScope(current.weight.engine, async (scope) => {
    onStage?.('controls');
    const pairs = {
      previous: scope.own(() => latentsOf(previous, sets.train2)),
      current: scope.own(() => latentsOf(current, sets.train2)),
    };
    const results = await evaluatePolicies({
      ...trial,
      ...samplesOf(trial, pairs.current, scope),
      // The aligner and its controls; in a full report also the old model's own latents.
      maps: {
        ELI: aligner,
        ridge: await fitMap('ridge', pairs),
        'mean shift': await fitMap('mean-shift', pairs),
        ...(kind === 'full' && { 'old model': { align: (_, { inputs }) => previous.forward(inputs!) } }),
      },
      reference: 'ridge',
      heads: { old: (latents) => classify(oldHead, latents), new: (latents) => classify(newHead, latents) },
      energy: (latents) => aligner.energy(latents),
      gates: await gatesOf(trial),
    });
    return { seed, latent: current.weight.shape[0]!, ...results };
  });
}

/** Training samples of task 2 (with these latents) in two parts; test samples of task 1, then of task 2. */
function samplesOf(
  { current, sets: { train2, test1, test2 } }: PolicyTrial,
  latents: Tensor,
  scope: Scope,
): Pick<PolicyEvaluation, 'fit' | 'heldOut' | 'test' | 'truth'> {
  const part = (rows: Uint32Array<ArrayBuffer>) => ({
    inputs: scope.own(() => flat(train2.inputs(tensor(latents.engine, rows)))),
    current: scope.own(() => gather(latents, tensor(latents.engine, rows))),
    labels: rows.map((i) => train2.hostLabels[i]!),
  });
  const inputsOf = (samples: LabelledSamples) => forAllSamples(latents.engine, samples, flat);
  const { fit, heldOut } = holdOut(train2.count, HOLD_OUT);
  const both = (of: (samples: LabelledSamples) => Tensor) =>
    scope.own(() => concat([of(test1), of(test2)], 0));
  return {
    fit: part(fit),
    heldOut: part(heldOut),
    test: { inputs: both(inputsOf), current: both((samples) => latentsOf(current, samples)) },
    truth: {
      old: new Uint8Array(test1.count + test2.count).fill(1, 0, test1.count),
      labels: [...test1.hostLabels, ...test2.hostLabels],
    },
  };
}

async function gatesOf(trial: PolicyTrial): Promise<GateEntry[]> {
  const { kind, previous, seed, sets, transforms: settings, onStage } = trial;
  onStage?.('saved statistics');
  const collect = (make: () => Tensor, of: 'inputs' | 'aligned'): Promise<TaskStatistics> =>
    withScope(previous.weight.engine, (scope) =>
      TaskStatistics.collect(scope.own(make), sets.train1.hostLabels, { of }),
    );
  const heads = new HeadsGate();
  const novelty = new CachedGate(new NoveltyGate());
  const ofInputs = await collect(() => forAllSamples(previous.weight.engine, sets.train1, flat), 'inputs');
  const saved = { gate: new CachedGate(new StatisticsGate(ofInputs)), statistics: ofInputs, chosen: true };
  if (kind === 'short') {
    return [
      { gate: novelty, drawn: true },
      { gate: new SumGate([heads, novelty]), byReference: true, chosen: true },
      saved,
    ];
  }
  const ofLatents = await collect(() => latentsOf(previous, sets.train1), 'aligned');
  const transforms = new CachedGate(new TransformGate({ seed, ...settings }));
  const three = [heads, novelty, transforms];
  return [
    { gate: new EnergyGate() },
    { gate: new ConfidenceGate(), drawn: true },
    { gate: new NoveltyGate({ of: 'current' }) },
    { gate: novelty, drawn: true },
    { gate: transforms },
    { gate: heads },
    { gate: heads, byReference: true },
    { gate: new SumGate([heads, novelty]), byReference: true },
    { gate: new SumGate(three, 'z'), byReference: true },
    { gate: new SumGate(three), byReference: true, chosen: true },
    { gate: new StatisticsGate(ofLatents), statistics: ofLatents, byReference: true },
    saved,
  ];
}
