import type { ImageData } from '../../data/image-set.ts';
import type { EnergyAligner } from '../../eli/aligner.ts';
import type { AlignerState } from '../../eli/fit.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Linear } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import type { Optimizer } from '../../optim/optimizer.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import type { TrainerState } from '../../train/trainer.ts';
import type { PolicyReport, ReportKind } from '../policy-report.ts';
import type { RunOptions, RunRecord } from '../session.ts';
import { type CurvePoint, type MnistCheckpoint, writeCheckpoint } from './checkpoint.ts';
import type { MnistConfig } from './config.ts';
import type { MnistMetrics } from './metrics.ts';
import { latentsOf, layerOf, type TwoTaskNet, TwoTasks, twoTaskModel } from './two-task.ts';

export interface MnistRun extends RunOptions {
  /** Whether to draw the pictures. */
  readonly pictures: boolean;
  /** Which policies to measure, if any. */
  readonly report?: ReportKind;
}

/** Latents f32 [n, d] that the stages after the training share: of task 2 by both models, and of the test images. */
export interface MnistLatents {
  readonly pairs: { readonly previous: Tensor; readonly current: Tensor };
  readonly test: { readonly previous: Tensor; readonly current: Tensor; readonly second: Tensor };
}

/** How far a run has come, and what its stages hand on to one another. */
export class MnistState {
  readonly engine: Engine;
  readonly config: MnistConfig;
  readonly run: MnistRun;
  readonly record: RunRecord;
  readonly sets: TwoTasks;
  readonly net: TwoTaskNet;
  readonly optimizer: Optimizer;
  /** Epochs done of each task. */
  readonly epochs: [number, number] = [0, 0];
  /** Of the epoch under way. */
  losses: number[] = [];
  trained: TrainerState | undefined;
  /** The network after task 1: its base is the previous model, its head 1 the saved head. */
  afterTask1: StateDict | undefined;
  readonly curve: CurvePoint[] = [];
  /** Where the fit of the aligner stood. */
  readonly fit: AlignerState | undefined;
  previous: Linear | undefined;
  savedHead: Linear | undefined;
  latents: MnistLatents | undefined;
  aligner: EnergyAligner | undefined;
  metrics: MnistMetrics | undefined;
  policies: PolicyReport | undefined;

  constructor(
    engine: Engine,
    config: MnistConfig,
    mnist: ImageData,
    run: MnistRun,
    record: RunRecord,
    before: MnistCheckpoint | undefined,
  ) {
    this.engine = engine;
    this.config = config;
    this.run = run;
    this.record = record;
    this.sets = new TwoTasks(engine, mnist);
    const { net, optimizer } = twoTaskModel(engine, config, this.sets.pixels);
    this.net = net;
    this.optimizer = optimizer;
    if (before === undefined) return;
    this.epochs = [...before.epochs];
    this.losses = [...before.losses];
    this.trained = before.classifier;
    this.afterTask1 = before.afterTask1;
    this.curve = [...before.curve];
    this.fit = before.aligner;
    net.loadStateDict(before.classifier.model);
  }

  /** Writes where the run stands. */
  async checkpoint(aligner?: EnergyAligner): Promise<void> {
    const state = await aligner?.state();
    await this.record.checkpoint((logLength) =>
      writeCheckpoint(this.run.folder, {
        config: this.config,
        epochs: this.epochs,
        classifier: this.trained!,
        losses: this.losses,
        ...(this.afterTask1 === undefined ? {} : { afterTask1: this.afterTask1 }),
        ...(state === undefined ? {} : { aligner: state }),
        curve: this.curve,
        logLength,
      }),
    );
  }

  /** Makes the layers of the previous model, and the latents. */
  takeLatents(): void {
    const { train2, test1, test2 } = this.sets;
    const { base } = this.net;
    const previous = layerOf(this.engine, this.afterTask1!, 'base');
    this.previous = previous;
    this.savedHead = layerOf(this.engine, this.afterTask1!, 'head1');
    this.latents = {
      pairs: { previous: latentsOf(previous, train2), current: latentsOf(base, train2) },
      test: {
        previous: latentsOf(previous, test1),
        current: latentsOf(base, test1),
        second: latentsOf(base, test2),
      },
    };
  }

  dispose(): void {
    const latents = Object.values(this.latents ?? {}).flatMap((part) => Object.values<Tensor>(part));
    for (const tensor of latents) tensor.dispose();
    this.aligner?.dispose();
    this.previous?.dispose();
    this.savedHead?.dispose();
    this.optimizer.dispose();
    this.net.dispose();
    this.sets.dispose();
  }
}
