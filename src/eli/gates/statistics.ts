import { EliError } from '../../errors.ts';
import { readFormat } from '../../files/formats.ts';
import { type SafetensorsInput, writeSafetensors } from '../../files/safetensors.ts';
import { sub } from '../../ops/binary.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { readOnce } from '../moments.ts';
import { type Basis, pcaBasis, project } from './basis.ts';
import { basisFromTensors, basisToTensors } from './basis-tensors.ts';
import { Gate, type GateBatch, type GateData, type GateState, need } from './gate.ts';
import {
  ClassGaussians,
  type ClassMoments,
  dimensionsOf,
  momentsFromTensors,
  momentsToTensors,
} from './gaussians.ts';
import { fitted, type GaussianSettings, gaussianSettings, momentsOf } from './novelty.ts';

const FORMAT = 'eli-webgpu task statistics';

/**
 * What a user may keep of a task when it is learnt, so that a later gate knows it: means and covariances of its
 * classes on principal components, and these components. No sample is kept.
 */
export class TaskStatistics {
  readonly settings: GaussianSettings;
  readonly basis: Basis | undefined;
  readonly moments: ClassMoments;

  private constructor(settings: GaussianSettings, basis: Basis | undefined, moments: ClassMoments) {
    this.settings = settings;
    this.basis = basis;
    this.moments = moments;
  }

  /**
   * Of the samples x [n, p] of a task, or of their latents [n, d] (`of: 'aligned'`: alignment brings later latents to
   * where these were), with their labels.
   */
  static async collect(
    x: Tensor,
    labels: ArrayLike<number> | undefined,
    settings: Partial<GaussianSettings> = {},
  ): Promise<TaskStatistics> {
    const full = gaussianSettings(settings);
    const basis = await pcaBasis(x, full.dimensions);
    return new TaskStatistics(full, basis, await momentsOf(x, basis, labels, full.covariance));
  }

  /** Bytes that are kept. */
  get bytes(): number {
    return Object.values(this.toTensors()).reduce((total, { data }) => total + data.byteLength, 0);
  }

  /** The statistics as a file holds them; `fromTensors` makes them again. */
  toTensors(): Record<string, SafetensorsInput> {
    return { ...momentsToTensors(this.moments, 'old.'), ...basisToTensors(this.basis) };
  }

  /** @throws EliError `FORMAT` for tensors that are missing or do not fit */
  static fromTensors(
    tensors: Readonly<Record<string, SafetensorsInput>>,
    settings: Partial<GaussianSettings>,
  ): TaskStatistics {
    const moments = momentsFromTensors(tensors, 'old.');
    return new TaskStatistics(gaussianSettings(settings), basisFromTensors(tensors, moments), moments);
  }

  /** Writes them to a safetensors file, atomically. @throws EliError `FILE` */
  async save(path: string): Promise<void> {
    await writeSafetensors(path, this.toTensors(), {
      format: FORMAT,
      settings: JSON.stringify(this.settings),
    });
  }

  /** @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong */
  static load(path: string): Promise<TaskStatistics> {
    return readFormat(path, {
      [FORMAT]: ({ tensors, metadata }) => {
        const settings = JSON.parse(metadata.settings!) as Partial<GaussianSettings>;
        const statistics = TaskStatistics.fromTensors(tensors, settings);
        // Moments that are those of no data are refused here, where the file's name is known.
        new ClassGaussians(statistics.moments, statistics.settings.shrinkage);
        return statistics;
      },
    });
  }
}

/**
 * The log of how much likelier a sample is under Gaussians of the old task's classes, from its saved statistics, than
 * under those of the current task's classes: quadratic discriminant analysis of the two tasks.
 */
export class StatisticsGate extends Gate {
  readonly name: string;
  readonly statistics: TaskStatistics;
  readonly #old: ClassGaussians;
  #moments: ClassMoments | undefined;
  #new: ClassGaussians | undefined;

  constructor(statistics: TaskStatistics) {
    super();
    this.statistics = statistics;
    this.#old = new ClassGaussians(statistics.moments, statistics.settings.shrinkage);
    this.name = `saved statistics of ${statistics.settings.of === 'inputs' ? 'inputs' : 'latents'}`;
  }

  /** The gate that `state` described, all but its threshold. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState): StatisticsGate {
    const gate = new StatisticsGate(
      TaskStatistics.fromTensors(tensors, settings as Partial<GaussianSettings>),
    );
    const current = momentsFromTensors(tensors, 'new.');
    if (dimensionsOf(current) !== dimensionsOf(gate.statistics.moments)) {
      throw new EliError('FORMAT', "the gate's old and new moments are of different dimensions");
    }
    gate.#set(current);
    return gate;
  }

  #set(moments: ClassMoments): void {
    this.#moments = moments;
    this.#new = new ClassGaussians(moments, this.statistics.settings.shrinkage);
  }

  override async fit(data: GateData): Promise<void> {
    const { basis, settings } = this.statistics;
    const x = need(this.name, data, settings.of);
    const width = basis?.mean.length ?? dimensionsOf(this.statistics.moments);
    if (x.shape[1] !== width) {
      throw new EliError(
        'SHAPE',
        `the gate ${this.name}: rows of ${x.shape[1]} values, the statistics are of ${width}`,
        { hint: 'give the same kind of rows as when the statistics were collected' },
      );
    }
    this.#set(await momentsOf(x, basis, data.labels, settings.covariance));
  }

  override score(batch: GateBatch): Promise<Float32Array> {
    const { basis, settings } = this.statistics;
    const x = need(this.name, batch, settings.of);
    const current = fitted(this.name, this.#new);
    return readOnce(x, () => {
      const y = project(x, basis);
      return sub(this.#old.logDensity(y), current.logDensity(y));
    });
  }

  /** What the gate is saved as; `fromState` makes it again. */
  override state(): GateState {
    const moments = fitted(this.name, this.#moments);
    return {
      kind: 'statistics',
      threshold: this.threshold,
      settings: { ...this.statistics.settings },
      tensors: { ...this.statistics.toTensors(), ...momentsToTensors(moments, 'new.') },
    };
  }
}
