import { fitControl, type LatentMap } from '../../eli/controls.ts';
import {
  ConfidenceGate,
  EnergyGate,
  Gate,
  type GateBatch,
  type GateData,
  type GateState,
  HeadsGate,
  NoveltyGate,
  StatisticsGate,
  SumGate,
  TaskStatistics,
  TransformGate,
  type TransformSettings,
} from '../../eli/gates/all.ts';
import {
  auroc,
  type HeadAnswers,
  type PolicyScores,
  scorePolicy,
  type Truth,
  tradeoff,
} from '../../eli/policy.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Linear } from '../../nn/layers.ts';
import { gather } from '../../ops/gather.ts';
import { argmax, max } from '../../ops/reduce.ts';
import { softmax } from '../../ops/softmax.ts';
import { concat } from '../../ops/views.ts';
import { tensor } from '../../tensor/create.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { forAllSamples } from '../../train/features.ts';
import type { LabelledSamples } from '../../train/labelled-samples.ts';
import { classify, flat, latentsOf, type TwoTasks } from './two-task.ts';

/** Which policies are measured: those of the short table, or all. */
export type ReportKind = 'short' | 'full';

/** What moves latents back; `none` where nothing does. */
export type MapName = 'none' | 'ELI' | 'ridge' | 'mean shift' | 'old model';

/** A row of the report: one way of deciding on alignment, with one way of aligning. */
export interface PolicyRow extends PolicyScores {
  readonly map: MapName;
  /** `never`, `always`, `oracle`, or the name of a gate. */
  readonly policy: string;
  /** Whether the gate has statistics of the old task that were saved when it was learnt. */
  readonly saved: boolean;
  /** Whether this gate was chosen beforehand to be shown as the best of its kind. */
  readonly chosen: boolean;
  readonly auroc?: number;
}

/** Accuracies without labels as the threshold of a chosen gate moves, in %. */
export interface PolicyCurve {
  readonly map: MapName;
  readonly policy: string;
  readonly saved: boolean;
  readonly points: readonly { readonly old: number; readonly new: number }[];
}

export interface PolicyReport {
  readonly seed: number;
  readonly latent: number;
  readonly rows: readonly PolicyRow[];
  readonly curves: readonly PolicyCurve[];
  /** Bytes of saved statistics of the old task by gate. */
  readonly savedBytes: Readonly<Record<string, number>>;
}

/** What a report depends on beside the models. */
export interface PolicySettings {
  readonly kind: ReportKind;
  /** Share of held-out current-task samples below the threshold: of gates without and with saved statistics. */
  readonly gateQuantile: number;
  readonly statisticsQuantile: number;
}

export interface PolicyTrial extends PolicySettings {
  readonly seed: number;
  /** `train1` is used for nothing but the saved statistics, which are collected while task 1 is learnt. */
  readonly sets: Pick<TwoTasks, 'train1' | 'train2' | 'test1' | 'test2'>;
  /** The previous model, its head, and the current model. */
  readonly previous: Linear;
  readonly oldHead: Linear;
  readonly current: Linear;
  readonly newHead: Linear;
  readonly aligner: LatentMap & { energy(latents: Tensor): Tensor };
  /** Settings of the transform gate other than its defaults. */
  readonly transforms?: Partial<TransformSettings>;
  /** Called with what is being done. */
  readonly onStage?: (stage: string) => void;
}

/** How many stages `onStage` is called with. */
export const POLICY_STAGES: Readonly<Record<ReportKind, number>> = { short: 8, full: 18 };

/** Every sixth training image of task 2 is kept from the gates' fits, for their thresholds. */
const HOLD_OUT = 6;

/**
 * Measures policies on one seed's models. The gates see current-task training images alone; labels of test images are
 * looked at by the oracle and the measuring only.
 */
export async function measurePolicies(trial: PolicyTrial): Promise<PolicyReport> {
  const bench = new Bench(trial);
  try {
    return await bench.run();
  } finally {
    bench.dispose();
  }
}

/** A gate to measure: what to call it and how its threshold is set. */
interface Entry {
  readonly gate: Gate;
  readonly saved: boolean;
  /** Its old-head logits are of latents aligned by the ridge map, whatever map the policy uses. */
  readonly ridgeHeads: boolean;
  readonly chosen: boolean;
  /** Whether the picture shows it though it is not chosen. */
  readonly drawn?: boolean;
}

/**
 * A gate that looks at the samples alone: its scores of the same samples are the same whatever aligns, so they are
 * taken once.
 */
class Remembered extends Gate {
  readonly name: string;
  readonly #gate: Gate;
  readonly #scores = new Map<Tensor, Float32Array>();

  constructor(gate: Gate) {
    super();
    this.name = gate.name;
    this.#gate = gate;
  }

  override fit(data: GateData): Promise<void> {
    this.#scores.clear();
    return this.#gate.fit(data);
  }

  override async score(batch: GateBatch): Promise<Float32Array> {
    const found = this.#scores.get(batch.inputs!) ?? (await this.#gate.score(batch));
    this.#scores.set(batch.inputs!, found);
    return found;
  }

  override state(): GateState {
    return this.#gate.state();
  }
}

class Bench {
  readonly #trial: PolicyTrial;
  readonly #kept: Tensor[] = [];
  readonly #savedBytes: Record<string, number> = {};

  constructor(trial: PolicyTrial) {
    this.#trial = trial;
  }

  dispose(): void {
    for (const t of this.#kept) t.dispose();
  }

  #keep(t: Tensor): Tensor {
    this.#kept.push(t);
    return t;
  }

  async run(): Promise<PolicyReport> {
    const { previous, current, newHead, oldHead, aligner, sets, kind, seed } = this.#trial;
    const { engine } = current.weight;
    const stage = this.#trial.onStage ?? (() => undefined);

    stage('controls');
    const pairs = {
      previous: this.#keep(latentsOf(previous, sets.train2)),
      current: this.#keep(latentsOf(current, sets.train2)),
    };
    const ridge = await fitControl('ridge', pairs);
    const shift = await fitControl('mean-shift', pairs);
    const all = Array.from({ length: sets.train2.count }, (_, i) => i);
    const parts = [all.filter((i) => i % HOLD_OUT !== 0), all.filter((i) => i % HOLD_OUT === 0)] as const;
    const labels = parts.map((rows) => Uint8Array.from(rows, (i) => sets.train2.hostLabels[i]!));
    const view = (base: GateBatch & { current: Tensor }, map: LatentMap): GateBatch => {
      const aligned = this.#keep(engine.tidy(() => map.align(base.current)));
      return { ...base, aligned, oldLogits: this.#keep(engine.tidy(() => classify(oldHead, aligned))) };
    };
    const batch = (inputs: Tensor, latents: Tensor): GateBatch & { current: Tensor } => ({
      inputs: this.#keep(inputs),
      current: this.#keep(latents),
      energy: this.#keep(engine.tidy(() => aligner.energy(latents))),
      newLogits: this.#keep(engine.tidy(() => classify(newHead, latents))),
    });
    const [fit, held] = parts.map((rows) => {
      const index = tensor(engine, Uint32Array.from(rows));
      const made = batch(
        flat(sets.train2.inputs(index)),
        engine.tidy(() => gather(pairs.current, index)),
      );
      index.dispose();
      return made;
    }) as [GateBatch & { current: Tensor }, GateBatch & { current: Tensor }];
    const test = batch(
      engine.tidy(() => concat([allInputs(engine, sets.test1), allInputs(engine, sets.test2)], 0)),
      engine.tidy(() => concat([latentsOf(current, sets.test1), latentsOf(current, sets.test2)], 0)),
    );
    const truth: Truth = {
      old: Uint8Array.from({ length: sets.test1.count + sets.test2.count }, (_, i) =>
        i < sets.test1.count ? 1 : 0,
      ),
      labels: Uint8Array.from([...sets.test1.hostLabels, ...sets.test2.hostLabels]),
    };

    // What each map makes of held-out and of test latents. The old model is no function of the latents.
    const maps: Record<Exclude<MapName, 'none' | 'old model'>, LatentMap> = {
      ELI: aligner,
      ridge,
      'mean shift': shift,
    };
    const oldModel = (data: Tensor): LatentMap => ({ align: () => previous.forward(data) });
    const views = Object.entries(maps).map(([name, map]) => ({
      name: name as MapName,
      held: view(held, map),
      test: view(test, map),
    }));
    if (kind === 'full') {
      views.push({
        name: 'old model',
        held: view(held, oldModel(held.inputs!)),
        test: view(test, oldModel(test.inputs!)),
      });
    }
    const ridgeView = views.find(({ name }) => name === 'ridge')!;

    const entries = await this.#entries(stage);
    const trained: GateData = { ...view(fit, ridge), labels: labels[0]! };
    for (const { gate } of entries) {
      stage(`gate: ${gate.name}`);
      if (!(gate instanceof SumGate)) await gate.fit(trained);
    }

    const rows: PolicyRow[] = [];
    const curves: PolicyCurve[] = [];
    for (const { name, held: heldOut, test: tested } of views) {
      stage(`policies: ${name}`);
      const answers = await this.#answers(test.current, tested.aligned!);
      const row = (
        map: MapName,
        policy: string,
        scores: PolicyScores,
        more: Partial<PolicyRow> = {},
      ): void => {
        rows.push({ map, policy, saved: false, chosen: false, ...scores, ...more });
      };
      if (rows.length === 0) row('none', 'never', scorePolicy(answers, truth, 'never'));
      row(name, 'always', scorePolicy(answers, truth, 'always'));
      for (const { gate, saved, ridgeHeads, chosen, drawn = chosen } of entries) {
        // With the ridge map itself both ways are the same.
        if (ridgeHeads && gate instanceof HeadsGate && name === 'ridge') continue;
        const see = (own: GateBatch, by: GateBatch): GateBatch =>
          ridgeHeads ? { ...own, aligned: by.aligned!, oldLogits: by.oldLogits! } : own;
        const { gateQuantile, statisticsQuantile } = this.#trial;
        await gate.calibrate(see(heldOut, ridgeView.held), saved ? statisticsQuantile : gateQuantile);
        const scores = await gate.score(see(tested, ridgeView.test));
        const decisions = Uint8Array.from(scores, (score) => (score > gate.threshold ? 1 : 0));
        const policy =
          ridgeHeads && name !== 'ridge' ? gate.name.replace('heads', 'heads (ridge)') : gate.name;
        row(name, policy, scorePolicy(answers, truth, decisions), {
          saved,
          chosen,
          auroc: auroc(scores, truth.old),
        });
        if (drawn) curves.push({ map: name, policy, saved, points: tradeoff(answers, truth, scores) });
      }
      row(name, 'oracle', scorePolicy(answers, truth, truth.old));
    }
    return { seed, latent: this.#trial.current.weight.shape[0]!, rows, curves, savedBytes: this.#savedBytes };
  }

  /** The gates, those of a sum before it: they are fitted once. */
  async #entries(stage: (name: string) => void): Promise<Entry[]> {
    const { kind, sets, previous } = this.#trial;
    const { engine } = previous.weight;
    const heads = new HeadsGate();
    const novelty = new Remembered(new NoveltyGate());
    const plain = { saved: false, ridgeHeads: false, chosen: false };
    stage('saved statistics');
    const inputs = allInputs(engine, sets.train1);
    const inputStatistics = await TaskStatistics.collect(inputs, sets.train1.hostLabels).finally(() =>
      inputs.dispose(),
    );
    const saved = new Remembered(new StatisticsGate(inputStatistics));
    this.#savedBytes[saved.name] = inputStatistics.bytes;
    if (kind === 'short') {
      return [
        { ...plain, gate: novelty, drawn: true },
        { ...plain, gate: new SumGate([heads, novelty]), ridgeHeads: true, chosen: true },
        { gate: saved, saved: true, ridgeHeads: false, chosen: true },
      ];
    }
    const latents = latentsOf(previous, sets.train1);
    const latentStatistics = await TaskStatistics.collect(latents, sets.train1.hostLabels, {
      of: 'aligned',
    }).finally(() => latents.dispose());
    const savedLatents = new StatisticsGate(latentStatistics);
    this.#savedBytes[savedLatents.name] = latentStatistics.bytes;
    const { seed, transforms: settings } = this.#trial;
    const transforms = new Remembered(new TransformGate({ seed, ...settings }));
    const three = [heads, novelty, transforms];
    return [
      { ...plain, gate: new EnergyGate() },
      { ...plain, gate: new ConfidenceGate(), drawn: true },
      { ...plain, gate: new NoveltyGate({ of: 'current' }) },
      { ...plain, gate: novelty, drawn: true },
      { ...plain, gate: transforms },
      { ...plain, gate: heads },
      { ...plain, gate: heads, ridgeHeads: true },
      { ...plain, gate: new SumGate([heads, novelty]), ridgeHeads: true },
      { ...plain, gate: new SumGate(three, 'z'), ridgeHeads: true },
      { ...plain, gate: new SumGate(three), ridgeHeads: true, chosen: true },
      { gate: savedLatents, saved: true, ridgeHeads: true, chosen: false },
      { gate: saved, saved: true, ridgeHeads: false, chosen: true },
    ];
  }

  async #answers(current: Tensor, aligned: Tensor): Promise<HeadAnswers> {
    const { oldHead, newHead } = this.#trial;
    const ask = async (head: Linear, latents: Tensor): Promise<HeadAnswers['oldCurrent']> => {
      const { engine } = latents;
      const [classes, probability] = engine.tidy(() => {
        const logits = classify(head, latents);
        return [argmax(logits), max(softmax(logits), -1)];
      }) as [Tensor, Tensor];
      try {
        return { classes: await classes.read(), probability: await probability.readFloats() };
      } finally {
        classes.dispose();
        probability.dispose();
      }
    };
    return {
      oldCurrent: await ask(oldHead, current),
      oldAligned: await ask(oldHead, aligned),
      newCurrent: await ask(newHead, current),
      newAligned: await ask(newHead, aligned),
    };
  }
}

/** All images of a task as f32 [n, pixels]. */
function allInputs(engine: Engine, data: LabelledSamples): Tensor {
  return forAllSamples(engine, data, flat);
}
