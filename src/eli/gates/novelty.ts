import { type ConfigOf, ConfigTable, choice, number, whole } from '../../config.ts';
import { EliError } from '../../errors.ts';
import type { SafetensorsInput } from '../../files/safetensors.ts';
import { neg } from '../../ops/unary.ts';
import { withScope } from '../../tensor/scope.ts';
import { readOnce } from '../moments.ts';
import { type Basis, pcaBasis, project } from './basis.ts';
import { basisFromTensors, basisToTensors } from './basis-tensors.ts';
import { Gate, type GateBatch, type GateData, type GateState, need } from './gate.ts';
import {
  ClassGaussians,
  type ClassMoments,
  type Covariance,
  classMoments,
  momentsFromTensors,
  momentsToTensors,
} from './gaussians.ts';

const SETTINGS = new ConfigTable('Gaussian setting', {
  of: choice('rows that Gaussians are fitted to', ['inputs', 'current', 'aligned'], { default: 'inputs' }),
  dimensions: whole('principal components that are kept, at most', { default: 50, from: 1 }),
  covariance: choice('a covariance for each class, or one for all', ['class', 'shared'], {
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

/** Which rows Gaussians are fitted to: the samples, or latents of them. */
export type GaussianSource = GaussianSettings['of'];

/** @throws EliError `CONFIG` naming the setting */
export const gaussianSettings = (part: Partial<GaussianSettings>): GaussianSettings =>
  SETTINGS.complete(part);

/**
 * P: novelty, minus the log-density of a sample under Gaussians of the current task's classes, on its principal
 * components (Lee et al., NeurIPS 2018, take the distance alone). Of `inputs` it sees the samples, of `current` or
 * `aligned` their latents: then nothing but latents is needed.
 */
export class NoveltyGate extends Gate {
  readonly name: string;
  readonly settings: GaussianSettings;
  #basis: Basis | undefined;
  #moments: ClassMoments | undefined;
  #gaussians: ClassGaussians | undefined;

  constructor(settings: Partial<GaussianSettings> = {}) {
    super();
    this.settings = gaussianSettings(settings);
    this.name = this.settings.of === 'inputs' ? 'novelty' : `novelty of ${this.settings.of} latents`;
  }

  /** The gate that `state` described, all but its threshold. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState): NoveltyGate {
    const gate = new NoveltyGate(settings as Partial<GaussianSettings>);
    const moments = momentsFromTensors(tensors);
    gate.#basis = basisFromTensors(tensors, moments);
    gate.#set(moments);
    return gate;
  }

  #set(moments: ClassMoments): void {
    this.#moments = moments;
    this.#gaussians = new ClassGaussians(moments, this.settings.shrinkage);
  }

  override async fit(data: GateData): Promise<void> {
    const x = need(this.name, data, this.settings.of);
    this.#basis = await pcaBasis(x, this.settings.dimensions);
    this.#set(await momentsOf(x, this.#basis, data.labels, this.settings.covariance));
  }

  override score(batch: GateBatch): Promise<Float32Array> {
    const x = need(this.name, batch, this.settings.of);
    const gaussians = fitted(this.name, this.#gaussians);
    return readOnce(x, () => neg(gaussians.logDensity(project(x, this.#basis))));
  }

  /** What the gate is saved as; `fromState` makes it again. */
  override state(): GateState {
    const tensors: Record<string, SafetensorsInput> = {
      ...momentsToTensors(fitted(this.name, this.#moments)),
      ...basisToTensors(this.#basis),
    };
    return { kind: 'novelty', threshold: this.threshold, settings: { ...this.settings }, tensors };
  }
}

/** Moments of the rows of x in a basis. */
export async function momentsOf(
  x: Parameters<typeof project>[0],
  basis: Basis | undefined,
  labels: ArrayLike<number> | undefined,
  covariance: Covariance,
): Promise<ClassMoments> {
  if (basis === undefined) return classMoments(x, labels, covariance);
  return withScope(x.engine, (scope) => {
    const projected = scope.own(() => project(x, basis));
    return classMoments(projected, labels, covariance);
  });
}

/** @throws EliError `ARGUMENT` for what only `fit` or a load gives */
export function fitted<T>(gate: string, value: T | undefined): T {
  if (value === undefined) {
    throw new EliError('ARGUMENT', `the gate ${gate} is not fitted`, { hint: 'call fit first, or load one' });
  }
  return value;
}
