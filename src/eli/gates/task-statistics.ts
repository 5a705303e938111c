import { type ConfigOf, ConfigTable, choice, number, whole } from '../../config.ts';
import { EliError } from '../../errors.ts';
import { readFormat } from '../../files/formats.ts';
import { writeSafetensors } from '../../files/safetensors.ts';
import type { StateDict } from '../../nn/module.ts';
import { stateFromTensors, stateTensor, stateToTensors } from '../../nn/state-file.ts';
import { withScope } from '../../tensor/scope.ts';
import type { Shape } from '../../tensor/shape.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { type Basis, pcaBasis, project } from './basis.ts';
import { ClassGaussians, type ClassMoments, classMoments } from './gaussians.ts';

const FORMAT = 'eli-webgpu task statistics';

const SETTINGS = new ConfigTable('Gaussian setting', {
  of: choice('rows that Gaussians are fitted to', ['inputs', 'current', 'aligned'], { default: 'inputs' }),
  dimensions: whole('largest number of principal components to keep', { default: 50, from: 1 }),
  covariance: choice('one covariance per class, or one shared by all', ['class', 'shared'], {
    default: 'class',
  }),
  shrinkage: number('share of the mean variance that is added to each variance', {
    default: 0.01,
    from: 0,
    to: 100,
  }),
});

/** How Gaussians are fitted to rows; every setting has a default. */
export interface GaussianSettings extends ConfigOf<typeof SETTINGS> {}

/** @throws EliError `CONFIG` naming the setting */
export const gaussianSettings = (part: unknown): GaussianSettings => SETTINGS.complete(part);

/**
 * What may be kept of a task when it is learnt, so that a later gate knows it: the principal components of its samples,
 * and the means and covariances of its classes on them. No sample is kept.
 */
export class TaskStatistics {
  readonly settings: GaussianSettings;
  readonly basis: Basis | undefined;
  readonly moments: ClassMoments;
  readonly gaussians: ClassGaussians;

  private constructor(settings: GaussianSettings, basis: Basis | undefined, moments: ClassMoments) {
    this.settings = settings;
    this.basis = basis;
    this.moments = moments;
    this.gaussians = new ClassGaussians(moments, settings.shrinkage);
  }

  /**
   * The statistics of a task's samples x [n, p], or of their latents [n, d] (`of: 'aligned'`: alignment brings later
   * latents to where these were), with their labels.
   * @param basis the principal components to use instead of those of x
   * @throws EliError `CONFIG` naming the setting, `SHAPE` for a wrong number of labels, `ARGUMENT` for a covariance that
   * is not positive definite
   */
  static async collect(
    x: Tensor,
    labels: ArrayLike<number> | undefined,
    settings: Partial<GaussianSettings> = {},
    basis?: Basis,
  ): Promise<TaskStatistics> {
    const full = gaussianSettings(settings);
    const on = basis ?? (await pcaBasis(x, full.dimensions));
    const moments = await withScope(x.engine, (scope) =>
      classMoments(on === undefined ? x : scope.own(() => project(x, on)), labels, full.covariance),
    );
    return new TaskStatistics(full, on, moments);
  }

  /** Values per row of the data: p, or d. */
  get width(): number {
    const { counts, means } = this.moments;
    return this.basis?.mean.length ?? means.length / counts.length;
  }

  /** Size of what is kept, in bytes. */
  get bytes(): number {
    return Object.values(this.state()).reduce((total, { data }) => total + data.byteLength, 0);
  }

  /** What `fromState` restores them from; names of moments begin with `prefix`. */
  state(prefix = 'old.'): StateDict {
    const { counts, means, covariances } = this.moments;
    const c = counts.length;
    const k = means.length / c;
    return {
      [`${prefix}counts`]: { shape: [c], data: counts },
      [`${prefix}means`]: { shape: [c, k], data: means },
      [`${prefix}covariances`]: { shape: [covariances.length / (k * k), k, k], data: covariances },
      ...(this.basis && {
        'basis.mean': { shape: [this.width], data: this.basis.mean },
        'basis.columns': { shape: [this.width, k], data: this.basis.columns },
      }),
    };
  }

  /** The statistics with this state. @throws EliError `FORMAT` for tensors that are missing or do not fit */
  static fromState(state: StateDict, settings: unknown, prefix = 'old.'): TaskStatistics {
    const part = (name: string, shape: Shape) => stateTensor('task statistics', state, name, shape);
    const [c = 0, k = 0] = state[`${prefix}means`]?.shape ?? [];
    const covariances = state[`${prefix}covariances`]?.shape[0] === 1 ? 1 : c;
    const moments = {
      counts: part(`${prefix}counts`, [c]),
      means: part(`${prefix}means`, [c, k]),
      covariances: part(`${prefix}covariances`, [covariances, k, k]),
    };
    if (c === 0 || k === 0)
      throw new EliError('FORMAT', `statistics of ${c} classes in ${k} dimensions are empty`);
    const hasBasis = 'basis.mean' in state || 'basis.columns' in state;
    const p = state['basis.mean']?.shape[0] ?? 0;
    const basis = hasBasis
      ? { mean: part('basis.mean', [p]), columns: part('basis.columns', [p, k]) }
      : undefined;
    return new TaskStatistics(gaussianSettings(settings), basis, moments);
  }

  /** Writes them to a safetensors file, atomically. @throws EliError `FILE` */
  async save(path: string): Promise<void> {
    const settings = JSON.stringify(this.settings);
    await writeSafetensors(path, stateToTensors(this.state(), ''), { format: FORMAT, settings });
  }

  /** @throws EliError `FILE`, or `FORMAT` naming the file and what is wrong */
  static load(path: string): Promise<TaskStatistics> {
    return readFormat(path, {
      [FORMAT]: ({ tensors, metadata }) =>
        TaskStatistics.fromState(stateFromTensors(tensors, ''), JSON.parse(metadata.settings!)),
    });
  }
}
