import { join } from 'node:path';
import { ImageSamples } from '../../data/image-samples.ts';
import { channelStatistics, type ImageData } from '../../data/image-set.ts';
import { EliError } from '../../errors.ts';
import { writeSafetensors } from '../../files/safetensors.ts';
import type { Engine } from '../../gpu/engine.ts';
import { Initializer } from '../../nn/init.ts';
import { smoothedCrossEntropy, softCrossEntropy } from '../../nn/losses.ts';
import type { Module } from '../../nn/module.ts';
import type { LossScaling } from '../../optim/loss-scale.ts';
import { everyEpoch } from '../../optim/schedules.ts';
import { confusionSpec } from '../../report/confusion.ts';
import { writeJson } from '../../report/json.ts';
import { savePicture } from '../../report/picture.ts';
import type { Progress } from '../../report/progress.ts';
import { firstEvents, RunLog } from '../../report/run-log.ts';
import { type EpochPoint, trainingSpec } from '../../report/training.ts';
import { type Evaluation, evaluate } from '../../train/evaluate.ts';
import { decayGroups } from '../../train/groups.ts';
import { classification, softClassification } from '../../train/objective.ts';
import { Trainer, type TrainerMemory } from '../../train/trainer.ts';
import { readTrainCheckpoint, trainCheckpointPath, writeTrainCheckpoint } from './checkpoint.ts';
import { optimizerOf, scheduleOf, TRAIN_KEYS, type TrainConfig } from './config.ts';
import { MODELS } from './models.ts';

export interface TrainRun {
  /** Folder of the run; it must exist. */
  readonly folder: string;
  readonly progress: Progress;
  readonly signal?: AbortSignal;
  /** Goes on from the checkpoint in the folder, from the beginning where there is none yet. */
  readonly resume: boolean;
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

/** Steps between updates of the progress bar. */
const STRETCH = 20;

/**
 * Trains a network on images: epochs with checkpoints, an evaluation after each, metrics.json, log.jsonl,
 * model.safetensors (PyTorch's parameter names) and pictures. Stopped by `signal`, it rejects with `ABORTED` once the
 * checkpoint of the epoch under way is written.
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
  if (before !== undefined) checkSameConfig(run.folder, before.config, config);
  await writeJson(join(run.folder, 'config.json'), config);
  const log = RunLog.open(join(run.folder, 'log.jsonl'), {
    resume: run.resume,
    keep: firstEvents(before?.logLength ?? 0),
  });
  const session = new Session(engine, config, data, run.checkNumerics === true);
  try {
    if (before !== undefined) session.trainer.load(before.trainer);
    const points = [...(before?.points ?? [])];
    const { imagesPerSecond, last } = await session.epochs(points, run, log);
    // A training that was done before only draws and saves again.
    const test = last ?? (await session.evaluate(run.progress));
    await session.save(run, points, test);
    const parameters = session.model.parameters().reduce((total, p) => total + p.size, 0);
    const { memory } = session.trainer;
    const lossScaling = await session.trainer.lossScaling();
    return { points, test, imagesPerSecond, parameters, memory, lossScaling };
  } finally {
    session.dispose();
    log.close();
  }
}

function checkSameConfig(folder: string, before: TrainConfig, now: TrainConfig): void {
  const changed = TRAIN_KEYS.differences(before, now);
  if (changed.length === 0) return;
  throw new EliError('CONFIG', `the training in ${folder} has another config: ${changed.join('; ')}`, {
    hint: 'resume with the same flags, or start a new one with another --out',
  });
}

/** The network, its data on the device, and what trains it. */
class Session {
  readonly model: Module;
  readonly trainer: Trainer;
  readonly #config: TrainConfig;
  readonly #data: ImageData;
  readonly #train: ImageSamples;
  readonly #test: ImageSamples;

  constructor(engine: Engine, config: TrainConfig, data: ImageData, checkNumerics: boolean) {
    const { seed, batch, emaDecay, labelSmoothing, mixup, cutout } = config;
    this.#config = config;
    this.#data = data;
    const { channels, height, width, classes } = data.train;
    const normalisation = channelStatistics(data.train);
    const augmentation = {
      ...(config.augment === 'crop-flip' ? { crop: { padding: 4 }, flip: 0.5 } : {}),
      ...(cutout > 0 ? { cutout } : {}),
      ...(mixup > 0 ? { mixup } : {}),
    };
    this.#train = new ImageSamples(engine, data.train, { ...normalisation, augmentation, random: { seed } });
    this.#test = new ImageSamples(engine, data.test, normalisation);
    this.model = MODELS[config.model]!(new Initializer(engine, seed), [channels, height, width], classes);
    const optimizer = optimizerOf(config, decayGroups(this.model));
    const steps = Math.max(1, Math.floor(data.train.count / batch));
    this.trainer = new Trainer(this.model, this.#train, optimizer, {
      batch,
      seed,
      rate: everyEpoch(scheduleOf(config), steps),
      checkNumerics,
      precision: config.precision,
      ...(emaDecay > 0 ? { emaDecay } : {}),
      objective:
        mixup > 0
          ? softClassification(this.model, this.#train, softCrossEntropy)
          : classification(this.model, (output, labels) =>
              smoothedCrossEntropy(output, labels, labelSmoothing),
            ),
    });
  }

  /** Trains what is left; gives the images a second and the last evaluation, if there was one. */
  async epochs(
    points: EpochPoint[],
    run: TrainRun,
    log: RunLog,
  ): Promise<{ imagesPerSecond: number; last: Evaluation | undefined }> {
    const { epochs, batch, patience } = this.#config;
    const steps = this.trainer.stepsPerEpoch;
    let seconds = 0;
    let images = 0;
    let last: Evaluation | undefined;
    while (points.length < epochs && !outOfPatience(points, patience)) {
      const epoch = points.length + 1;
      const bar = run.progress(`epoch ${epoch}/${epochs}`, steps * batch, 'images');
      const losses: number[] = [];
      const start = performance.now();
      try {
        while (losses.length < steps) {
          losses.push(...(await this.trainer.run(Math.min(STRETCH, steps - losses.length))));
          bar.update(losses.length * batch, `loss ${losses.at(-1)!.toFixed(4)}`);
        }
      } finally {
        bar.done();
      }
      seconds += (performance.now() - start) / 1000;
      images += steps * batch;
      last = await this.evaluate(run.progress);
      const { loss: testLoss, top1 } = last;
      const trainLoss = losses.reduce((a, b) => a + b, 0) / steps;
      points.push({ epoch, trainLoss, testLoss, testAccuracy: top1 });
      const scaling = await this.trainer.lossScaling();
      log.write({
        event: 'epoch',
        epoch,
        rate: this.trainer.optimizer.learningRate,
        trainLoss,
        testLoss,
        top1,
        ...(scaling === undefined ? {} : { lossScale: scaling.scale, skippedSteps: scaling.skipped }),
      });
      log.flush();
      await writeTrainCheckpoint(run.folder, {
        config: this.#config,
        trainer: await this.trainer.state(),
        points,
        logLength: log.length,
      });
      if (run.signal?.aborted === true) {
        throw new EliError(
          'ABORTED',
          `the training was stopped; ${trainCheckpointPath(run.folder)} holds where it stood`,
          { hint: `repeat the command with --resume --out ${run.folder}` },
        );
      }
    }
    return { imagesPerSecond: seconds === 0 ? 0 : images / seconds, last };
  }

  async evaluate(progress: Progress): Promise<Evaluation> {
    const bar = progress('test', this.#test.count, 'images');
    const { ema } = this.trainer;
    try {
      const measure = () =>
        evaluate(this.model, this.#test, {
          precision: this.#config.precision,
          onProgress: (done) => bar.update(done),
        });
      return await (ema === undefined ? measure() : ema.during(measure));
    } finally {
      bar.done();
    }
  }

  async save(run: TrainRun, points: readonly EpochPoint[], test: Evaluation): Promise<void> {
    const { model, data, seed } = this.#config;
    await writeJson(join(run.folder, 'metrics.json'), { points, test });
    const { ema } = this.trainer;
    const state = await (ema === undefined
      ? this.model.stateDict()
      : ema.during(() => this.model.stateDict()));
    await writeSafetensors(
      join(run.folder, 'model.safetensors'),
      Object.fromEntries(
        Object.entries(state).map(([name, { shape, data }]) => [
          name,
          { dtype: 'F32' as const, shape, data },
        ]),
      ),
      { model, data },
    );
    if (!run.pictures) return;
    const title = `${model} on ${data}`;
    const subtitle = `seed ${seed}, ${points.length} epochs, test accuracy ${test.top1.toFixed(2)} %`;
    await savePicture(join(run.folder, 'training'), trainingSpec(points, { title, subtitle }));
    const { names } = this.#data.test;
    await savePicture(
      join(run.folder, 'confusion'),
      confusionSpec(test.confusion, { title, subtitle, ...(names === undefined ? {} : { names }) }),
    );
  }

  dispose(): void {
    this.trainer.dispose();
    this.trainer.optimizer.dispose();
    this.model.dispose();
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
