import { EliError } from '../../errors.ts';
import { brief } from '../../files/json.ts';
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

/** Which rows Gaussians are fitted to: the samples, or latents of them. */
export type GaussianSource = 'inputs' | 'current' | 'aligned';

export interface GaussianSettings {
  readonly of: GaussianSource;
  /** Principal components that are kept, at most. */
  readonly dimensions: number;
  /** A covariance for each class, or one for all. */
  readonly covariance: Covariance;
  /** Share of the mean variance that is added to each variance. */
  readonly shrinkage: number;
}

const DEFAULTS: GaussianSettings = { of: 'inputs', dimensions: 50, covariance: 'class', shrinkage: 0.01 };

/** @throws EliError `CONFIG` naming the setting */
export function gaussianSettings(part: Partial<GaussianSettings>): GaussianSettings {
  const settings = { ...DEFAULTS, ...part };
  const { of, dimensions, covariance, shrinkage } = settings;
  const bad =
    (!['inputs', 'current', 'aligned'].includes(of) &&
      `of is ${brief(of)}, must be inputs, current or aligned`) ||
    (!(Number.isInteger(dimensions) && dimensions >= 1) &&
      `dimensions is ${brief(dimensions)}, must be a whole number from 1`) ||
    (!['class', 'shared'].includes(covariance) &&
      `covariance is ${brief(covariance)}, must be class or shared`) ||
    (!(typeof shrinkage === 'number' && shrinkage >= 0 && shrinkage <= 100) &&
      `shrinkage is ${brief(shrinkage)}, must be from 0 to 100`);
  if (bad) throw new EliError('CONFIG', `gate with Gaussians: ${bad}`);
  return settings;
}

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

  static fromState({ settings, tensors, threshold }: GateState): NoveltyGate {
    const gate = new NoveltyGate(settings as Partial<GaussianSettings>);
    const moments = momentsFromTensors(tensors);
    gate.#basis = basisFromTensors(tensors, moments);
    gate.#set(moments);
    gate.threshold = threshold;
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
