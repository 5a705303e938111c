import { join } from 'node:path';
import { ImageSamples } from '../../data/image-samples.ts';
import { channelStatistics, type ImageData } from '../../data/image-set.ts';
import { writeSafetensors } from '../../files/safetensors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { smoothedCrossEntropy, softCrossEntropy } from '../../nn/losses.ts';
import type { Module } from '../../nn/module.ts';
import { stateToTensors } from '../../nn/state-file.ts';
import type { LossScaling } from '../../optim/loss-scale.ts';
import { everyEpoch } from '../../optim/schedules.ts';
import { confusionSpec } from '../../report/confusion.ts';
import { writeJson } from '../../report/json.ts';
import { savePicture } from '../../report/picture.ts';
import { type EpochPoint, trainingSpec } from '../../report/training.ts';
import { type Evaluation, evaluate } from '../../train/evaluate.ts';
import { decayGroups } from '../../train/groups.ts';
import { classification, softClassification } from '../../train/objective.ts';
import { Trainer, type TrainerMemory } from '../../train/trainer.ts';
import { checkLosses } from '../checkpoint.ts';
import { checkSameConfig, type RunOptions, RunRecord, RunStopped, runStages } from '../session.ts';
import { readTrainCheckpoint, type TrainCheckpoint, writeTrainCheckpoint } from './checkpoint.ts';
import { optimizerOf, scheduleOf, TRAIN_KEYS, type TrainConfig } from './config.ts';
import { MODELS } from './models.ts';

export interface TrainRun extends RunOptions {
  readonly pictures: boolean;
  /** See `TrainerOptions`. */
  readonly checkNumerics?: boolean;
}

export interface TrainResult {
  readonly points: readonly EpochPoint[];
  readonly test: Evaluation;
  /** Training images a second, over the epochs of this call; not part of the metrics. */
  readonly imagesPerSecond: number;
  readonly parameters: number;
  readonly memory: TrainerMemory;
  /** In mixed precision. */
  readonly lossScaling: LossScaling | undefined;
}

/**
 * Trains a network on images: epochs with checkpoints, an evaluation after each, metrics.json, log.jsonl,
 * model.safetensors (PyTorch's parameter names) and pictures. Stopped by `signal`, also in the middle of an epoch, it
 * writes a checkpoint and rejects with `RunStopped`.
 *
 * @throws EliError `CONFIG`, `NON_FINITE` and those of reading and writing.
 */
export async function train(
  engine: Engine,
  config: TrainConfig,
  data: ImageData,
  run: TrainRun,
): Promise<TrainResult> {
  const before = run.resume ? await readTrainCheckpoint(run.folder) : undefined;
  if (before !== undefined) checkSameConfig(TRAIN_KEYS, run.folder, before.config, config);
  const record = new RunRecord(run, before?.logLength ?? 0);
  let training: Training | undefined;
  try {
    training = new Training(engine, config, data, run, record);
    if (before !== undefined) training.load(before);
    await runStages(
      [
        { name: 'training', done: (state) => state.trained, run: (state) => state.train() },
        // A training that was done before only draws and saves again.
        { name: 'results', done: () => false, run: (state) => state.save() },
      ],
      training,
      record,
    );
    return await training.result();
  } finally {
    training?.dispose();
    record.close();
  }
}

/** The network, its data on the device, what trains it, and how far it has come. */
class Training {
  readonly #model: Module;
  readonly #trainer: Trainer;
  readonly #config: TrainConfig;
  readonly #data: ImageData;
  readonly #train: ImageSamples;
  readonly #test: ImageSamples;
  readonly #run: TrainRun;
  readonly #record: RunRecord;
  readonly #rate: (step: number) => number;
  #points: EpochPoint[] = [];
  /** Of the epoch under way. */
  #losses: number[] = [];
  #evaluation: Evaluation | undefined;
  /** Of this call. */
  #seconds = 0;
  #images = 0;

  constructor(engine: Engine, config: TrainConfig, data: ImageData, run: TrainRun, record: RunRecord) {
    const { seed, batch, emaDecay, labelSmoothing, mixup, cutout } = config;
    this.#config = config;
    this.#data = data;
    this.#run = run;
    this.#record = record;
    const { channels, height, width, classes } = data.train;
    const normalisation = channelStatistics(data.train);
    const augmentation = {
      ...(config.augment === 'crop-flip' ? { crop: { padding: 4 }, flip: 0.5 } : {}),
      ...(cutout > 0 ? { cutout } : {}),
      ...(mixup > 0 ? { mixup } : {}),
    };
    this.#train = new ImageSamples(engine, data.train, { ...normalisation, augmentation, random: { seed } });
    this.#test = new ImageSamples(engine, data.test, normalisation);
    this.#model = MODELS[config.model]!(new Initializer(engine, seed), [channels, height, width], classes);
    const optimizer = optimizerOf(config, decayGroups(this.#model));
    this.#rate = everyEpoch(scheduleOf(config), Math.max(1, Math.floor(data.train.count / batch)));
    this.#trainer = new Trainer(this.#model, this.#train, optimizer, {
      batch,
      seed,
      rate: this.#rate,
      checkNumerics: run.checkNumerics === true,
      precision: config.precision,
      ...(emaDecay > 0 ? { emaDecay } : {}),
      objective:
        mixup > 0
          ? softClassification(this.#model, this.#train, softCrossEntropy)
          : classification(this.#model, (output, labels) =>
              smoothedCrossEntropy(output, labels, labelSmoothing),
            ),
    });
  }

  load({ trainer, points, losses }: TrainCheckpoint): void {
    checkLosses(this.#run.folder, losses, this.#trainer.stepsPerEpoch);
    this.#trainer.load(trainer);
    this.#points = [...points];
    this.#losses = [...losses];
  }

  /** Whether all epochs are done, or the best test accuracy lies `patience` epochs back. */
  get trained(): boolean {
    const { epochs, patience } = this.#config;
    return this.#points.length >= epochs || outOfPatience(this.#points, patience);
  }

  /** Trains and evaluates the epochs that are left. */
  async train(): Promise<void> {
    while (!this.trained) {
      try {
        await this.#epoch();
        this.#evaluation = await this.#evaluate();
      } catch (error) {
        if (error instanceof RunStopped) await this.#checkpoint();
        throw error;
      }
      await this.#endEpoch(this.#evaluation);
      await this.#checkpoint();
      this.#record.check();
    }
  }

  async #epoch(): Promise<void> {
    const { batch, epochs } = this.#config;
    const steps = this.#trainer.stepsPerEpoch;
    const first = this.#losses.length;
    const label = `epoch ${this.#points.length + 1}/${epochs}`;
    const bar = this.#run.progress(label, steps * batch, 'images', first * batch);
    const start = performance.now();
    try {
      const { signal } = this.#run;
      const onProgress = (done: number, loss: number): void => {
        bar.update((first + done) * batch, `loss ${loss.toFixed(4)}`);
      };
      const losses = await this.#trainer.run(steps - first, { signal, onProgress });
      this.#losses = [...this.#losses, ...losses];
      if (this.#losses.length < steps) throw new RunStopped(this.#run.folder);
    } finally {
      bar.done();
      this.#seconds += (performance.now() - start) / 1000;
      this.#images += (this.#losses.length - first) * batch;
    }
  }

  /** Takes the epoch's losses and its evaluation into the curve and the log. */
  async #endEpoch({ loss: testLoss, top1 }: Evaluation): Promise<void> {
    const epoch = this.#points.length + 1;
    const trainLoss = this.#losses.reduce((a, b) => a + b, 0) / this.#losses.length;
    const scaling = await this.#trainer.lossScaling();
    this.#points.push({ epoch, trainLoss, testLoss, testAccuracy: top1 });
    this.#losses = [];
    this.#record.event({
      event: 'epoch',
      epoch,
      rate: this.#rate(this.#trainer.step - 1),
      trainLoss,
      testLoss,
      top1,
      ...(scaling === undefined ? {} : { lossScale: scaling.scale, skippedSteps: scaling.skipped }),
    });
  }

  async #checkpoint(): Promise<void> {
    const trainer = await this.#trainer.state();
    await this.#record.checkpoint((logLength) =>
      writeTrainCheckpoint(this.#run.folder, {
        config: this.#config,
        trainer,
        points: this.#points,
        losses: this.#losses,
        logLength,
      }),
    );
  }

  async #evaluate(): Promise<Evaluation> {
    const bar = this.#run.progress('test', this.#test.count, 'images');
    const { precision } = this.#config;
    const onProgress = (done: number): void => {
      this.#record.check();
      bar.update(done);
    };
    try {
      return await this.#averaged(() => evaluate(this.#model, this.#test, { precision, onProgress }));
    } finally {
      bar.done();
    }
  }

  /** Runs `fn` with the average of the weights in their place, where one is kept. */
  #averaged<T>(fn: () => Promise<T>): Promise<T> {
    const { ema } = this.#trainer;
    return ema === undefined ? fn() : ema.during(fn);
  }

  /** Writes metrics, weights and pictures. */
  async save(): Promise<void> {
    this.#evaluation ??= await this.#evaluate();
    const { folder, pictures } = this.#run;
    const { model, data, seed } = this.#config;
    const test = this.#evaluation;
    await writeJson(join(folder, 'metrics.json'), { points: this.#points, test });
    const state = await this.#averaged(() => this.#model.stateDict());
    await writeSafetensors(join(folder, 'model.safetensors'), stateToTensors(state, ''), { model, data });
    if (!pictures) return;
    this.#record.check();
    const title = `${model} on ${data}`;
    const subtitle = `seed ${seed}, ${this.#points.length} epochs, test accuracy ${test.top1.toFixed(2)} %`;
    await savePicture(join(folder, 'training'), trainingSpec(this.#points, { title, subtitle }));
    const { names } = this.#data.test;
    await savePicture(
      join(folder, 'confusion'),
      confusionSpec(test.confusion, { title, subtitle, ...(names === undefined ? {} : { names }) }),
    );
  }

  async result(): Promise<TrainResult> {
    return {
      points: this.#points,
      test: this.#evaluation!,
      imagesPerSecond: this.#seconds === 0 ? 0 : this.#images / this.#seconds,
      parameters: this.#model.parameters().reduce((total, p) => total + p.size, 0),
      memory: this.#trainer.memory,
      lossScaling: await this.#trainer.lossScaling(),
    };
  }

  dispose(): void {
    this.#trainer.dispose();
    this.#trainer.optimizer.dispose();
    this.#model.dispose();
    this.#train.dispose();
    this.#test.dispose();
  }
}

/** Whether the best test accuracy lies `patience` epochs back. */
function outOfPatience(points: readonly EpochPoint[], patience: number): boolean {
  if (patience === 0 || points.length === 0) return false;
  const accuracies = points.map((point) => point.testAccuracy!);
  const best = accuracies.indexOf(Math.max(...accuracies));
  return points.length - 1 - best >= patience;
}
