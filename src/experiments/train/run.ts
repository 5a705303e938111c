import { join } from 'node:path';
import { partialOf } from '../../abort.ts';
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
import { withBar } from '../../report/progress.ts';
import { mean } from '../../report/stats.ts';
import { type Measured, speedOf } from '../../report/tensorboard.ts';
import { type EpochPoint, trainingSpec } from '../../report/training.ts';
import { type Evaluation, evaluate } from '../../train/evaluate.ts';
import { decayGroups } from '../../train/groups.ts';
import { classification, softClassification } from '../../train/objective.ts';
import { Trainer, type TrainerMemory } from '../../train/trainer.ts';
import { checkLosses } from '../checkpoint.ts';
import { type RunOptions, type RunParts, RunState, RunStopped, runStages, type Stage } from '../session.ts';
import { readTrainCheckpoint, type TrainCheckpoint, writeTrainCheckpoint } from './checkpoint.ts';
import { optimizerOf, scheduleOf, TRAIN_KEYS, type TrainConfig } from './config.ts';
import { MODELS } from './models.ts';

export interface TrainRun extends RunOptions {
  /** See `TrainerOptions`. */
  readonly checkNumerics?: boolean;
}

export interface TrainResult {
  readonly points: readonly EpochPoint[];
  readonly test: Evaluation;
  /** Training images per second, over the epochs of this call; not part of the metrics. */
  readonly imagesPerSecond: number;
  readonly parameters: number;
  readonly memory: TrainerMemory;
  /** In mixed precision. */
  readonly lossScaling: LossScaling | undefined;
}

const STAGES: readonly Stage<Training>[] = [
  { name: 'training', done: (state) => state.trained, run: (state) => state.train() },
  // A training that is already done is only saved and drawn again.
  { name: 'results', done: () => false, run: (state) => state.save() },
];

/**
 * Trains a network on images: epochs with checkpoints, an evaluation after each, metrics.json, log.jsonl,
 * model.safetensors (PyTorch's parameter names) and pictures. Stopped by `signal`, even within an epoch, it writes a
 * checkpoint and rejects with `RunStopped`.
 *
 * @throws EliError `CONFIG`, `NON_FINITE` and those of reading and writing.
 */
export async function train(
  engine: Engine,
  config: TrainConfig,
  data: ImageData,
  run: TrainRun,
): Promise<TrainResult> {
  const { result } = await runStages(engine, config, run, {
    rules: TRAIN_KEYS,
    readCheckpoint: readTrainCheckpoint,
    begin: (parts, before) => new Training(parts, data, before),
    stages: STAGES,
  });
  return result!;
}

/** The network, its data on the device, its trainer, and how far it has come. */
class Training extends RunState<TrainConfig, TrainRun> {
  result: TrainResult | undefined;
  readonly #model: Module;
  readonly #trainer: Trainer;
  readonly #names: readonly string[] | undefined;
  readonly #test: ImageSamples;
  readonly #rate: (step: number) => number;
  readonly #points: EpochPoint[];
  /** Of the current epoch. */
  #losses: number[];
  #evaluation: Evaluation | undefined;
  /** Of this call. */
  #seconds = 0;
  #images = 0;

  constructor(
    parts: RunParts<TrainConfig, TrainRun>,
    { train, test }: ImageData,
    { trainer, points = [], losses = [] }: Partial<TrainCheckpoint> = {},
  ) {
    super(parts);
    const { engine, config, run, scope } = parts;
    const { seed, batch, emaDecay, labelSmoothing, mixup, cutout, precision } = config;
    this.#names = test.names;
    this.#points = [...points];
    this.#losses = [...losses];
    const { channels, height, width, classes } = train;
    const normalisation = channelStatistics(train);
    const augmentation = {
      ...(config.augment === 'crop-flip' ? { crop: { padding: 4 }, flip: 0.5 } : {}),
      ...(cutout > 0 ? { cutout } : {}),
      ...(mixup > 0 ? { mixup } : {}),
    };
    const samples = scope.add(
      new ImageSamples(engine, train, { ...normalisation, augmentation, random: { seed } }),
    );
    this.#test = scope.add(new ImageSamples(engine, test, normalisation));
    const model = MODELS[config.model]!(new Initializer(engine, seed), [channels, height, width], classes);
    this.#model = scope.add(model);
    const optimizer = scope.add(optimizerOf(config, decayGroups(model)));
    this.#rate = everyEpoch(scheduleOf(config), Math.max(1, Math.floor(train.count / batch)));
    this.#trainer = scope.add(
      new Trainer(model, samples, optimizer, {
        batch,
        seed,
        rate: this.#rate,
        checkNumerics: run.checkNumerics === true,
        precision,
        ...(emaDecay > 0 ? { emaDecay } : {}),
        objective:
          mixup > 0
            ? softClassification(model, samples, softCrossEntropy)
            : classification(model, (output, labels) => smoothedCrossEntropy(output, labels, labelSmoothing)),
      }),
    );
    checkLosses(run.folder, losses, this.#trainer.stepsPerEpoch);
    if (trainer !== undefined) this.#trainer.load(trainer);
  }

  /** Whether all epochs are done, or the best test accuracy is `patience` epochs old. */
  get trained(): boolean {
    const { epochs, patience } = this.config;
    const accuracies = this.#points.map((point) => point.testAccuracy!);
    const sinceBest = accuracies.length - 1 - accuracies.indexOf(Math.max(...accuracies));
    return accuracies.length >= epochs || (patience > 0 && sinceBest >= patience);
  }

  /** Trains and evaluates the remaining epochs. */
  async train(): Promise<void> {
    while (!this.trained) {
      let speed: Measured;
      try {
        speed = await this.#epoch();
        this.#evaluation = await this.#evaluate();
      } catch (error) {
        if (error instanceof RunStopped) await this.#checkpoint();
        throw error;
      }
      await this.#endEpoch(this.#evaluation, speed);
      await this.#checkpoint();
      this.check();
    }
  }

  /** Trains the rest of an epoch. */
  async #epoch(): Promise<Measured> {
    const { batch, epochs } = this.config;
    const { progress, signal, folder } = this.run;
    const steps = this.#trainer.stepsPerEpoch;
    const first = this.#losses.length;
    const label = `epoch ${this.#points.length + 1}/${epochs}`;
    const start = performance.now();
    await withBar(progress(label, steps * batch, 'images', first * batch), async (bar) => {
      const onProgress = (done: number, loss: number): void =>
        bar.update((first + done) * batch, `loss ${loss.toFixed(4)}`);
      const work = this.#trainer.run(steps - first, { signal, onProgress });
      const losses = await work.catch(partialOf<Float32Array>);
      this.#losses = [...this.#losses, ...losses];
    });
    const images = (this.#losses.length - first) * batch;
    const speed = speedOf('images', images, start);
    this.#seconds += (performance.now() - start) / 1000;
    this.#images += images;
    if (this.#losses.length < steps) throw new RunStopped(folder, signal);
    return speed;
  }

  /** Adds the epoch's losses and its evaluation to the curve and the log. */
  async #endEpoch({ loss: testLoss, top1 }: Evaluation, speed: Measured): Promise<void> {
    const epoch = this.#points.length + 1;
    const trainLoss = mean(this.#losses);
    const scaling = await this.#trainer.lossScaling();
    this.#points.push({ epoch, trainLoss, testLoss, testAccuracy: top1 });
    this.#losses = [];
    const event = {
      event: 'epoch',
      epoch,
      rate: this.#rate(this.#trainer.step - 1),
      trainLoss,
      testLoss,
      top1,
      ...(scaling === undefined ? {} : { lossScale: scaling.scale, skippedSteps: scaling.skipped }),
    };
    this.event(event, speed);
  }

  async #checkpoint(): Promise<void> {
    const trainer = await this.#trainer.state();
    const now = { config: this.config, trainer, points: this.#points, losses: this.#losses };
    await this.saveCheckpoint((folder, logLength) => writeTrainCheckpoint(folder, { ...now, logLength }));
  }

  #evaluate(): Promise<Evaluation> {
    const { precision } = this.config;
    return withBar(this.run.progress('test', this.#test.count, 'images'), (bar) => {
      const onProgress = (done: number): void => {
        this.check();
        bar.update(done);
      };
      return this.#averaged(() => evaluate(this.#model, this.#test, { precision, onProgress }));
    });
  }

  /** Runs `fn` with the averaged weights, if an average is kept. */
  #averaged<T>(fn: () => Promise<T>): Promise<T> {
    const { ema } = this.#trainer;
    return ema === undefined ? fn() : ema.during(fn);
  }

  /** Writes metrics, weights and pictures. */
  async save(): Promise<void> {
    const test = this.#evaluation ?? (await this.#evaluate());
    const points = this.#points;
    const { folder, pictures } = this.run;
    const { model, data, seed } = this.config;
    await writeJson(join(folder, 'metrics.json'), { points, test });
    const state = await this.#averaged(() => this.#model.stateDict());
    await writeSafetensors(join(folder, 'model.safetensors'), stateToTensors(state, ''), { model, data });
    this.result = {
      points,
      test,
      imagesPerSecond: this.#seconds === 0 ? 0 : this.#images / this.#seconds,
      parameters: this.#model.parameters().reduce((total, p) => total + p.size, 0),
      memory: this.#trainer.memory,
      lossScaling: await this.#trainer.lossScaling(),
    };
    if (!pictures) return;
    this.check();
    const title = `${model} on ${data}`;
    const subtitle = `seed ${seed}, ${points.length} epochs, test accuracy ${test.top1.toFixed(2)} %`;
    await savePicture(join(folder, 'training'), trainingSpec(points, { title, subtitle }));
    const labels = { title, subtitle, ...(this.#names && { names: this.#names }) };
    await savePicture(join(folder, 'confusion'), confusionSpec(test.confusion, labels));
  }
}
