import type { ImageData } from '../../data/image-set.ts';
import type { EnergyAligner } from '../../eli/aligner.ts';
import type { AlignerState } from '../../eli/fit.ts';
import type { Linear } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import type { Optimizer } from '../../optim/optimizer.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { LabelledSamples } from '../../train/samples.ts';
import type { TrainerState } from '../../train/trainer.ts';
import type { PolicyReport, ReportKind } from '../policy-report.ts';
import { type RunOptions, type RunParts, RunState } from '../session.ts';
import { type CurvePoint, type MnistCheckpoint, writeCheckpoint } from './checkpoint.ts';
import type { MnistConfig } from './config.ts';
import type { MnistMetrics } from './metrics.ts';
import { latentsOf, layerOf, type TwoTaskNet, type TwoTasks, twoTaskModel, twoTasks } from './two-task.ts';

export interface MnistRun extends RunOptions {
  /** Which policies to measure, if any. */
  readonly report?: ReportKind;
}

/** How far a run has come, and what its stages pass on to later ones. */
export class MnistState extends RunState<MnistConfig, MnistRun> {
  readonly sets: TwoTasks;
  readonly net: TwoTaskNet;
  readonly optimizer: Optimizer;
  /** Epochs done of each task. */
  readonly epochs: [number, number];
  /** Of the current epoch. */
  losses: number[];
  classifier: TrainerState | undefined;
  /** The network after task 1: its base is the previous model, its head 1 the saved head. */
  afterTask1: StateDict | undefined;
  readonly curve: CurvePoint[];
  /** The fit of the aligner at the checkpoint. */
  readonly fit: AlignerState | undefined;
  learnt: ReturnType<typeof learntModels> | undefined;
  aligner: EnergyAligner | undefined;
  metrics: MnistMetrics | undefined;
  policies: PolicyReport | undefined;

  constructor(
    parts: RunParts<MnistConfig, MnistRun>,
    mnist: ImageData,
    before: Partial<MnistCheckpoint> = {},
  ) {
    super(parts);
    const { engine, config, scope } = parts;
    this.sets = twoTasks(engine, mnist, scope);
    const { net, optimizer } = twoTaskModel(engine, config, this.sets.pixels);
    this.net = scope.add(net);
    this.optimizer = scope.add(optimizer);
    const { epochs = [0, 0], losses = [], curve = [] } = before;
    this.epochs = [...epochs];
    this.losses = [...losses];
    this.curve = [...curve];
    this.classifier = before.classifier;
    this.afterTask1 = before.afterTask1;
    this.fit = before.aligner;
    if (before.classifier !== undefined) net.loadStateDict(before.classifier.model);
  }

  /** Writes a checkpoint of the run. */
  async checkpoint(aligner?: EnergyAligner): Promise<void> {
    const { config, epochs, losses, afterTask1, curve } = this;
    const fit = await aligner?.state();
    const now = { config, epochs, classifier: this.classifier!, losses, afterTask1, aligner: fit, curve };
    await this.saveCheckpoint((folder, logLength) => writeCheckpoint(folder, { ...now, logLength }));
  }
}

/**
 * What the stages after the training share: the layers saved after task 1, and latents f32 [n, d], of task 2 by both
 * models and of the test images. They belong to the state's scope.
 */
export function learntModels({ scope, engine, sets, net, afterTask1 }: MnistState) {
  const { train2, test1, test2 } = sets;
  const layer = (name: string): Linear => scope.add(layerOf(engine, afterTask1!, name));
  const latents = (base: Linear, samples: LabelledSamples): Tensor => scope.add(latentsOf(base, samples));
  const [previous, savedHead] = [layer('base'), layer('head1')];
  return {
    previous,
    savedHead,
    pairs: { previous: latents(previous, train2), current: latents(net.base, train2) },
    test: {
      previous: latents(previous, test1),
      current: latents(net.base, test1),
      second: latents(net.base, test2),
    },
  };
}
