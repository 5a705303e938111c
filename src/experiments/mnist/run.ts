import { join } from 'node:path';
import type { ImageData } from '../../data/image-set.ts';
import { EnergyAligner } from '../../eli/aligner.ts';
import { EliError } from '../../errors.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Linear } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import { writeJson } from '../../report/json.ts';
import type { Progress } from '../../report/progress.ts';
import { firstEvents, RunLog } from '../../report/run-log.ts';
import type { TrainerState } from '../../train/trainer.ts';
import { loadPolicies, type PolicyReport, type ReportKind, savePolicies } from '../policy-report.ts';
import {
  type CurvePoint,
  checkpointPath,
  type MnistCheckpoint,
  readCheckpoint,
  writeCheckpoint,
} from './checkpoint.ts';
import { alignerOptions, MNIST_KEYS, type MnistConfig } from './config.ts';
import type { MnistMetrics } from './metrics.ts';
import { saveMnistPictures } from './pictures.ts';
import { measurePolicies, POLICY_STAGES } from './policies.ts';
import { accuracy, latentsOf, layerOf, TwoTasks, taskTrainer, twoTaskModel } from './two-task.ts';

export interface MnistRun {
  /** Folder of this seed's run: log, checkpoint, metrics, pictures. It must exist. */
  readonly folder: string;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
  /** Goes on from the checkpoint in the folder, from the beginning where there is none yet. */
  readonly resume: boolean;
  /** Whether to draw the pictures. */
  readonly pictures: boolean;
  /** Which policies to measure, if any. */
  readonly report?: ReportKind;
}

/** What a run gives; `policies` where a report was asked for. */
export interface MnistResult extends MnistMetrics {
  readonly policies?: PolicyReport;
}

/**
 * One seed of the two-task MNIST experiment of ELI (Joseph et al., CVPR 2022, section 3.3): train on digits 0–4, then
 * on 5–9 with the same base, learn the aligner on task-2 images alone, align task-1 latents. Writes checkpoints after
 * each epoch and stretch; stopped by `signal`, it rejects with `ABORTED` once the checkpoint is written.
 */
export async function runMnist(
  engine: Engine,
  config: MnistConfig,
  mnist: ImageData,
  run: MnistRun,
): Promise<MnistResult> {
  const before = run.resume ? await readCheckpoint(run.folder) : undefined;
  if (before !== undefined) checkSameConfig(run.folder, before.config, config);
  const log = RunLog.open(join(run.folder, 'log.jsonl'), {
    resume: run.resume,
    keep: firstEvents(before?.logLength ?? 0),
  });
  const sets = new TwoTasks(engine, mnist);
  const model = twoTaskModel(engine, config, sets.pixels);
  try {
    return await new Run(engine, config, run, log, sets, model, before).all();
  } finally {
    model.optimizer.dispose();
    model.net.dispose();
    sets.dispose();
    log.close();
  }
}

function checkSameConfig(folder: string, before: MnistConfig, now: MnistConfig): void {
  const changed = MNIST_KEYS.differences(before, now);
  if (changed.length > 0) {
    throw new EliError('CONFIG', `the run in ${folder} has another config: ${changed.join('; ')}`, {
      hint: 'resume with the same flags, or start a new run with another --out',
    });
  }
}

/** The stages of one run, in order; each starts where the checkpoint ended. */
class Run {
  readonly #engine: Engine;
  readonly #config: MnistConfig;
  readonly #run: MnistRun;
  readonly #log: RunLog;
  readonly #sets: TwoTasks;
  readonly #model: ReturnType<typeof twoTaskModel>;
  #trained: TrainerState | undefined;
  readonly #before: MnistCheckpoint | undefined;
  #epochs: [number, number];
  #afterTask1: StateDict | undefined;
  #curve: CurvePoint[];

  constructor(
    engine: Engine,
    config: MnistConfig,
    run: MnistRun,
    log: RunLog,
    sets: TwoTasks,
    model: ReturnType<typeof twoTaskModel>,
    before: MnistCheckpoint | undefined,
  ) {
    this.#engine = engine;
    this.#config = config;
    this.#run = run;
    this.#log = log;
    this.#sets = sets;
    this.#model = model;
    this.#before = before;
    this.#epochs = [...(before?.epochs ?? [0, 0])] as [number, number];
    this.#afterTask1 = before?.afterTask1;
    this.#curve = [...(before?.curve ?? [])];
    this.#trained = before?.classifier;
    if (before !== undefined) model.net.loadStateDict(before.classifier.model);
  }

  async all(): Promise<MnistResult> {
    const engine = this.#engine;
    const { test1, test2, train2 } = this.#sets;
    await this.#train(1);
    this.#afterTask1 ??= await this.#model.net.stateDict();
    const previous = layerOf(engine, this.#afterTask1, 'base');
    const savedHead = layerOf(engine, this.#afterTask1, 'head1');
    await this.#train(2);

    const { base, head1, head2 } = this.#model.net;
    const pairs = { previous: latentsOf(previous, train2), current: latentsOf(base, train2) };
    const test = {
      previous: latentsOf(previous, test1),
      current: latentsOf(base, test1),
      second: latentsOf(base, test2),
    };
    const unalignedSavedHead = await accuracy(savedHead, test.current, test1.hostLabels);
    if (this.#curve.length === 0) this.#curve.push({ iteration: 0, accuracy: unalignedSavedHead });
    const aligner = await this.#fit(pairs, test.current, savedHead);

    const aligned = engine.tidy(() => aligner.align(test.current));
    const secondAligned = engine.tidy(() => aligner.align(test.second));
    const metrics: MnistMetrics = {
      seed: this.#config.seed,
      latent: this.#config.latent,
      task1: await accuracy(savedHead, test.previous, test1.hostLabels),
      task2: await accuracy(head2, test.second, test2.hostLabels),
      unaligned: await accuracy(head1, test.current, test1.hostLabels),
      unalignedSavedHead,
      aligned: await accuracy(head1, aligned, test1.hostLabels),
      alignedSavedHead: await accuracy(savedHead, aligned, test1.hostLabels),
      task2Aligned: await accuracy(head2, secondAligned, test2.hostLabels),
      curve: this.#curve,
    };
    const { folder } = this.#run;
    await writeJson(join(folder, 'metrics.json'), metrics);
    await aligner.save(join(folder, 'aligner.safetensors'));
    this.#log.write({ event: 'metrics', ...metrics });
    this.#stopIfAsked();
    if (this.#run.pictures) {
      const latents = { ...test, aligned };
      await saveMnistPictures(folder, metrics, aligner, latents, test1.hostLabels, this.#run.progress);
    }

    const policies = await this.#policies(previous, savedHead, aligner);

    aligner.dispose();
    previous.dispose();
    savedHead.dispose();
    for (const t of [...Object.values(pairs), ...Object.values(test), aligned, secondAligned]) t.dispose();
    return policies === undefined ? metrics : { ...metrics, policies };
  }

  async #policies(
    previous: Linear,
    oldHead: Linear,
    aligner: EnergyAligner,
  ): Promise<PolicyReport | undefined> {
    const { report: kind, progress, folder, pictures } = this.#run;
    if (kind === undefined) return undefined;
    const { base: current, head2: newHead } = this.#model.net;
    const { seed, gateQuantile, statisticsQuantile } = this.#config;
    const settings = { kind, gateQuantile, statisticsQuantile };
    const before = this.#run.resume ? await loadPolicies(folder, settings) : undefined;
    if (before !== undefined) return before;
    const bar = progress('policies', POLICY_STAGES[kind], 'stages');
    let stages = 0;
    try {
      const report = await measurePolicies({
        ...settings,
        seed,
        sets: this.#sets,
        previous,
        oldHead,
        current,
        newHead,
        aligner,
        onStage: (stage) => {
          this.#stopIfAsked();
          bar.update(stages++, stage);
        },
      });
      bar.update(stages);
      await savePolicies(folder, [report], settings, pictures ? { data: 'MNIST' } : undefined);
      return report;
    } finally {
      bar.done();
    }
  }

  async #train(task: 1 | 2): Promise<void> {
    const done = this.#epochs[task - 1]!;
    const { epochs } = this.#config;
    if (done >= epochs) return;
    const data = task === 1 ? this.#sets.train1 : this.#sets.train2;
    const { net, optimizer } = this.#model;
    const trainer = taskTrainer(net, optimizer, task, data, this.#config);
    const steps = trainer.stepsPerEpoch;
    const bar = this.#run.progress(`task ${task}`, epochs * steps, 'steps', done * steps);
    try {
      if (this.#trained !== undefined) trainer.load({ ...this.#trained, step: done * steps });
      for (let epoch = done + 1; epoch <= epochs; epoch++) {
        const losses = await trainer.run(steps);
        const loss = losses.reduce((a, b) => a + b, 0) / steps;
        bar.update(epoch * steps, `loss ${loss.toFixed(4)}`);
        this.#epochs[task - 1] = epoch;
        this.#log.write({ event: 'epoch', task, epoch, loss });
        this.#trained = await trainer.state();
        await this.#checkpoint();
      }
    } finally {
      bar.done();
      trainer.dispose();
    }
  }

  async #fit(
    pairs: { previous: ReturnType<typeof latentsOf>; current: ReturnType<typeof latentsOf> },
    test: ReturnType<typeof latentsOf>,
    savedHead: Linear,
  ): Promise<EnergyAligner> {
    const { iterations, curveEvery } = this.#config;
    const resume = this.#before?.aligner;
    const bar = this.#run.progress('aligner', iterations, 'iterations', resume?.iteration ?? 0);
    try {
      return await EnergyAligner.fit(this.#engine, pairs, alignerOptions(this.#config), {
        every: curveEvery,
        ...(resume === undefined ? {} : { resume }),
        onProgress: async ({ iteration, loss, aligner }) => {
          const aligned = this.#engine.tidy(() => aligner.align(test));
          const value = await accuracy(savedHead, aligned, this.#sets.test1.hostLabels);
          aligned.dispose();
          bar.update(iteration, `loss ${loss.toFixed(3)}, task 1 at ${value.toFixed(1)} %`);
          this.#curve.push({ iteration, accuracy: value });
          this.#log.write({ event: 'fit', iteration, loss, accuracy: value });
          await this.#checkpoint(aligner);
        },
      });
    } finally {
      bar.done();
    }
  }

  /** Writes where the run stands, then stops it if that was asked for. */
  async #checkpoint(aligner?: EnergyAligner): Promise<void> {
    this.#log.flush();
    await writeCheckpoint(this.#run.folder, {
      config: this.#config,
      epochs: this.#epochs,
      classifier: this.#trained!,
      ...(this.#afterTask1 === undefined ? {} : { afterTask1: this.#afterTask1 }),
      ...(aligner === undefined ? {} : { aligner: await aligner.state() }),
      curve: this.#curve,
      logLength: this.#log.length,
    });
    this.#stopIfAsked();
  }

  /** To be called where the checkpoint holds all that was learnt. */
  #stopIfAsked(): void {
    if (this.#run.signal?.aborted !== true) return;
    throw new EliError(
      'ABORTED',
      `the run was stopped; ${checkpointPath(this.#run.folder)} holds where it stood`,
      { hint: `repeat the command with --resume --out ${this.#run.folder}` },
    );
  }
}
