import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import type { Program } from '../gpu/program.ts';
import { checkNumerics } from '../ops/check-numerics.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import { zeros } from '../tensor/create.ts';
import type { RandomSource } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { BatchOrder } from './order.ts';

/** What a recorded step reads and writes on the device, so that its replays need nothing from the CPU. */
export interface StepBuffers {
  /** Sample indices of the mini-batches, u32 [window · batch]: those of step k begin at (k mod window) · batch. */
  readonly order: Tensor;
  /** u32 [2]: the step, and space for kernels that run after it was incremented. */
  readonly counter: Tensor;
  /** u32 [1]: the step alone, for random numbers. */
  readonly step: Tensor;
  /** f32 [window]: the loss of step k belongs at k mod window. */
  readonly losses: Tensor;
  readonly batch: number;
}

interface LoopOptions {
  /** Number of samples. */
  readonly samples: number;
  /** Samples per step; the last incomplete mini-batch of an epoch is dropped. */
  readonly batch: number;
  /** For the order of the samples, which is new in each epoch. */
  readonly random: Omit<RandomSource, 'step'>;
  /** Sample indices of all mini-batches in turn, u32 [steps · batch], instead of shuffled epochs. */
  readonly order?: Uint32Array | undefined;
  /** Records one step, which ends by storing its loss and incrementing the step, as `logStep` does. */
  readonly record: (buffers: StepBuffers) => void;
  /** Learning rates of step k = 0, 1, …; an optimiser without one keeps its own. */
  readonly rates?: readonly { optimizer: Optimizer; rate?: ((step: number) => number) | undefined }[];
  /** The error for a loss that is not finite. */
  readonly nonFinite: (loss: number, step: number) => EliError;
  /** Check the result of every op, step by step, and stop at the first NaN or infinity: slow. Default false. */
  readonly checkNumerics?: boolean;
}

/** How a training run is followed and stopped. */
export interface RunHooks {
  /** Ends the run early: it is looked at before the first step and every 40 ms, or after every step that takes longer. */
  readonly signal?: AbortSignal | undefined;
  /** Called several times a second with the steps of this run that are done, and the last one's loss. */
  readonly onProgress?: ((done: number, loss: number) => void) | undefined;
}

/** Most steps whose mini-batches and losses the device holds, and most sample indices that it holds. */
const MAX_WINDOW = 1024;
const MAX_INDICES = 2 ** 20;
/** Milliseconds that a piece (the steps whose losses are read together) should take; two pieces are in flight at a time. */
const PIECE = 200;
/** Where a signal may end the run, it is looked at so many times a piece, with at most two parts of it in flight. */
const PARTS = 5;

/** Submitted steps, with their losses to come. */
interface Piece {
  readonly count: number;
  readonly losses: Promise<Float32Array>;
}

/**
 * The training loop: one step is captured and replayed. Mini-batches are taken by index on the device, and only losses
 * come back, while the next steps are already running. How steps are divided into pieces does not affect the results.
 */
export class TrainingLoop {
  readonly batchesPerEpoch: number;
  readonly buffers: StepBuffers;
  /** Bytes of the captured step on the device. */
  readonly stepBytes: number = 0;
  readonly #engine: Engine;
  readonly #options: LoopOptions;
  readonly #shuffled: BatchOrder;
  readonly #window: number;
  /** The captured step, unless ops are checked one by one. */
  readonly #program: Program<void> | undefined;
  #step = 0;
  /** Steps per piece. */
  #piece = 1;

  /** @throws EliError `CONFIG` when a mini-batch is larger than the samples. */
  constructor(engine: Engine, options: LoopOptions) {
    const { samples, batch } = options;
    this.#engine = engine;
    this.#options = options;
    this.#shuffled = new BatchOrder(samples, batch, options.random);
    this.batchesPerEpoch = this.#shuffled.batchesPerEpoch;
    if (this.batchesPerEpoch === 0) {
      throw new EliError('CONFIG', `a batch of ${batch} is larger than the ${samples} samples`, {
        hint: 'use a smaller batch',
      });
    }
    this.#window = Math.max(1, Math.min(MAX_WINDOW, Math.floor(MAX_INDICES / batch)));
    const counter = engine.keep(zeros(engine, [2], 'u32'));
    this.buffers = {
      order: engine.keep(zeros(engine, [this.#window * batch], 'u32')),
      counter,
      step: engine.keep(counter.view([1], [1], 0)),
      losses: engine.keep(zeros(engine, [this.#window])),
      batch,
    };
    if (options.checkNumerics === true) return;
    const before = engine.memory.bytesInUse;
    try {
      this.#program = engine.capture(() => options.record(this.buffers));
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.stepBytes = engine.memory.bytesInUse - before;
  }

  /** Steps done so far. */
  get step(): number {
    return this.#step;
  }

  /** Continues with step k. */
  set step(step: number) {
    this.#step = step;
    this.buffers.counter.write([step, step]);
  }

  /**
   * Runs the next `count` steps and returns their losses: fewer if `signal` is aborted meanwhile.
   * @throws EliError `NON_FINITE` for a loss that is not finite, `INDEX` for an index or label out of range, and what the
   *   device reports.
   */
  async run(count: number, hooks: RunHooks = {}): Promise<Float32Array<ArrayBuffer>> {
    // What was out of range before is not of this run.
    await this.#engine.checkIndices().catch(() => undefined);
    const losses = new Float32Array(count);
    const first = this.#step;
    let submitted = 0;
    let done = 0;
    let time = performance.now();
    const finish = async (piece: Piece): Promise<void> => {
      const values = await piece.losses;
      losses.set(values, done);
      this.#checkLosses(values, first + done);
      done += piece.count;
      const now = performance.now();
      this.#adapt(piece.count, now - time);
      time = now;
      hooks.onProgress?.(done, values.at(-1)!);
    };
    let previous: Piece | undefined;
    while (submitted < count && hooks.signal?.aborted !== true) {
      const piece = await this.#submit(count - submitted, hooks.signal);
      submitted += piece.count;
      if (previous !== undefined) await finish(previous);
      previous = piece;
    }
    if (previous !== undefined) await finish(previous);
    return losses.subarray(0, done);
  }

  /** Submits a piece of at most `most` steps, or the part of it before the signal. */
  async #submit(most: number, signal: AbortSignal | undefined): Promise<Piece> {
    const { batch, order: given, rates = [] } = this.#options;
    const { order, losses } = this.buffers;
    const place = this.#step % this.#window;
    let count = Math.min(most, this.#piece, this.#window - place);
    for (const { optimizer, rate } of rates) {
      if (rate === undefined) continue;
      // A piece has one learning rate.
      const now = rate(this.#step);
      let same = 1;
      while (same < count && rate(this.#step + same) === now) same++;
      count = same;
      if (now !== optimizer.learningRate) optimizer.learningRate = now;
    }
    const indices =
      given?.slice(this.#step * batch, (this.#step + count) * batch) ??
      this.#shuffled.take(this.#step, count);
    this.#engine.write(order.storage, 4 * place * batch, indices);
    count = await this.#replayParts(count, signal);
    this.#step += count;
    const read = Promise.all([
      this.#engine.read(losses.storage, 4 * place, 4 * count),
      this.#engine.checkIndices(),
    ]).then(([bytes]) => new Float32Array(bytes));
    // An error is thrown where its piece is awaited; later pieces are not awaited then.
    read.catch(() => undefined);
    return { count, losses: read };
  }

  /** Replays so many steps, or fewer if the signal is aborted meanwhile. @returns how many */
  async #replayParts(count: number, signal: AbortSignal | undefined): Promise<number> {
    const most = signal === undefined ? count : Math.ceil(count / PARTS);
    let submitted = 0;
    for (let before = Promise.resolve(); submitted < count && signal?.aborted !== true; ) {
      const steps = Math.min(most, count - submitted);
      await this.#replay(steps);
      submitted += steps;
      if (signal === undefined || submitted === count) break;
      const part = this.#engine.sync();
      // As for losses: an error is thrown where its part is awaited.
      part.catch(() => undefined);
      await before;
      before = part;
    }
    return submitted;
  }

  async #replay(count: number): Promise<void> {
    if (this.#program !== undefined) return this.#program.run(count);
    for (let i = 0; i < count; i++) {
      try {
        await checkNumerics(this.#engine, () => this.#engine.tidy(() => this.#options.record(this.buffers)));
      } catch (cause) {
        if (!(cause instanceof EliError) || cause.code !== 'NON_FINITE') throw cause;
        throw new EliError('NON_FINITE', `step ${this.#step + i + 1}: ${cause.message}`, { cause });
      }
    }
  }

  #checkLosses(losses: Float32Array, first: number): void {
    const bad = losses.findIndex((loss) => !Number.isFinite(loss));
    if (bad !== -1) throw this.#options.nonFinite(losses[bad]!, first + bad);
  }

  /** Adapts the steps per piece to the time that a piece should take; they at most double. */
  #adapt(count: number, milliseconds: number): void {
    const fitting = Math.floor((count * PIECE) / Math.max(milliseconds, 1e-3));
    this.#piece = Math.max(1, Math.min(fitting, 2 * this.#piece, this.#window));
  }

  dispose(): void {
    this.#program?.dispose();
    const { order, counter, step, losses } = this.buffers;
    for (const tensor of [order, step, counter, losses]) tensor.dispose();
  }
}
