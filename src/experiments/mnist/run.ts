import { join } from 'node:path';
import { type Mnist, splitByDigits } from '../../data/mnist.ts';
import { EnergyAligner } from '../../eli/aligner.ts';
import type { Engine } from '../../gpu/engine.ts';
import type { Linear } from '../../nn/layers.ts';
import type { StateDict } from '../../nn/module.ts';
import { writeJson } from '../../report/json.ts';
import { type ConfigRules, changes, checkSameConfig, type RunOptions, RunRecord } from '../session.ts';
import { type CurvePoint, type MnistCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint.ts';
import { alignerOptions, FREE_KEYS, type MnistConfig, mnistConfig } from './config.ts';
import type { MnistMetrics } from './metrics.ts';
import { saveMnistPictures } from './pictures.ts';
import { measurePolicies, POLICY_STAGES, type PolicyReport, type ReportKind } from './policies.ts';
import { loadPolicies, savePolicies } from './policies-table.ts';
import { accuracy, ClassifierTrainer, FIRST, latentsOf, layerOf, SECOND, TaskData } from './two-task.ts';

export interface MnistRun extends RunOptions {
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
  mnist: Mnist,
  run: MnistRun,
): Promise<MnistResult> {
  const before = run.resume ? await readCheckpoint(run.folder) : undefined;
  if (before !== undefined) checkSameConfig(MNIST_RULES, run.folder, before.config, config);
  const record = new RunRecord(run, before?.logLength ?? 0);
  const pixels = mnist.train.rows * mnist.train.cols;
  const sets = {
    train1: new TaskData(engine, splitByDigits(mnist.train, FIRST)),
    train2: new TaskData(engine, splitByDigits(mnist.train, SECOND)),
    test1: new TaskData(engine, splitByDigits(mnist.test, FIRST)),
    test2: new TaskData(engine, splitByDigits(mnist.test, SECOND)),
  };
  const trainer = new ClassifierTrainer(engine, config, pixels);
  try {
    return await new Run(engine, config, run, record, sets, trainer, before).all();
  } finally {
    trainer.dispose();
    for (const set of Object.values(sets)) set.dispose();
    record.close();
  }
}

/** What a config must keep when a run is resumed. */
export const MNIST_RULES: ConfigRules<MnistConfig> = {
  complete: mnistConfig,
  differences: (before, now) => changes(before, now, [...FREE_KEYS]),
};

interface Sets {
  readonly train1: TaskData;
  readonly train2: TaskData;
  readonly test1: TaskData;
  readonly test2: TaskData;
}

/** The stages of one run, in order; each starts where the checkpoint ended. */
class Run {
  readonly #engine: Engine;
  readonly #config: MnistConfig;
  readonly #run: MnistRun;
  readonly #record: RunRecord;
  readonly #sets: Sets;
  readonly #trainer: ClassifierTrainer;
  readonly #before: MnistCheckpoint | undefined;
  #epochs: [number, number];
  #afterTask1: StateDict | undefined;
  #curve: CurvePoint[];

  constructor(
    engine: Engine,
    config: MnistConfig,
    run: MnistRun,
    record: RunRecord,
    sets: Sets,
    trainer: ClassifierTrainer,
    before: MnistCheckpoint | undefined,
  ) {
    this.#engine = engine;
    this.#config = config;
    this.#run = run;
    this.#record = record;
    this.#sets = sets;
    this.#trainer = trainer;
    this.#before = before;
    this.#epochs = [...(before?.epochs ?? [0, 0])] as [number, number];
    this.#afterTask1 = before?.afterTask1;
    this.#curve = [...(before?.curve ?? [])];
    if (before !== undefined) trainer.load(before.classifier);
  }

  async all(): Promise<MnistResult> {
    const engine = this.#engine;
    const { test1, test2, train2 } = this.#sets;
    await this.#train(1);
    this.#afterTask1 ??= await this.#trainer.net.stateDict();
    const previous = layerOf(engine, this.#afterTask1, 'base');
    const savedHead = layerOf(engine, this.#afterTask1, 'head1');
    await this.#train(2);

    const { base, head1, head2 } = this.#trainer.net;
    const pairs = { previous: latentsOf(previous, train2), current: latentsOf(base, train2) };
    const test = {
      previous: latentsOf(previous, test1),
      current: latentsOf(base, test1),
      second: latentsOf(base, test2),
    };
    const unalignedSavedHead = await accuracy(savedHead, test.current, test1.targets);
    if (this.#curve.length === 0) this.#curve.push({ iteration: 0, accuracy: unalignedSavedHead });
    const aligner = await this.#fit(pairs, test.current, savedHead);

    const aligned = engine.tidy(() => aligner.align(test.current));
    const secondAligned = engine.tidy(() => aligner.align(test.second));
    const metrics: MnistMetrics = {
      seed: this.#config.seed,
      latent: this.#config.latent,
      task1: await accuracy(savedHead, test.previous, test1.targets),
      task2: await accuracy(head2, test.second, test2.targets),
      unaligned: await accuracy(head1, test.current, test1.targets),
      unalignedSavedHead,
      aligned: await accuracy(head1, aligned, test1.targets),
      alignedSavedHead: await accuracy(savedHead, aligned, test1.targets),
      task2Aligned: await accuracy(head2, secondAligned, test2.targets),
      curve: this.#curve,
    };
    const { folder } = this.#run;
    await writeJson(join(folder, 'metrics.json'), metrics);
    await aligner.save(join(folder, 'aligner.safetensors'));
    this.#record.event({ event: 'metrics', ...metrics });
    this.#record.check();
    if (this.#run.pictures) {
      const latents = { ...test, aligned };
      await saveMnistPictures(folder, metrics, aligner, latents, test1.targets, this.#run.progress);
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
    const { base: current, head2: newHead } = this.#trainer.net;
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
          this.#record.check();
          bar.update(stages++, stage);
        },
      });
      bar.update(stages);
      await savePolicies(folder, [report], settings, pictures);
      return report;
    } finally {
      bar.done();
    }
  }

  async #train(task: 1 | 2): Promise<void> {
    const done = this.#epochs[task - 1]!;
    if (done >= this.#config.epochs) return;
    const data = task === 1 ? this.#sets.train1 : this.#sets.train2;
    const steps = Math.floor(data.count / this.#config.batch);
    const bar = this.#run.progress(`task ${task}`, this.#config.epochs * steps, 'steps', done * steps);
    try {
      await this.#trainer.train(task, data, done, async (epoch, loss) => {
        bar.update(epoch * steps, `loss ${loss.toFixed(4)}`);
        this.#epochs[task - 1] = epoch;
        this.#record.event({ event: 'epoch', task, epoch, loss });
        await this.#checkpoint();
      });
    } finally {
      bar.done();
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
          const value = await accuracy(savedHead, aligned, this.#sets.test1.targets);
          aligned.dispose();
          bar.update(iteration, `loss ${loss.toFixed(3)}, task 1 at ${value.toFixed(1)} %`);
          this.#curve.push({ iteration, accuracy: value });
          this.#record.event({ event: 'fit', iteration, loss, accuracy: value });
          await this.#checkpoint(aligner);
        },
      });
    } finally {
      bar.done();
    }
  }

  /** Writes where the run stands, then stops it if that was asked for. */
  async #checkpoint(aligner?: EnergyAligner): Promise<void> {
    const classifier = await this.#trainer.state();
    const state = await aligner?.state();
    await this.#record.checkpoint((logLength) =>
      writeCheckpoint(this.#run.folder, {
        config: this.#config,
        epochs: this.#epochs,
        classifier,
        ...(this.#afterTask1 === undefined ? {} : { afterTask1: this.#afterTask1 }),
        ...(state === undefined ? {} : { aligner: state }),
        curve: this.#curve,
        logLength,
      }),
    );
    this.#record.check();
  }
}
