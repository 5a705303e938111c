import { neg } from '../../ops/unary.ts';
import { readOnce } from '../moments.ts';
import { project } from './basis.ts';
import { fitted, Gate, type GateBatch, type GateData, type GateState, need } from './gate.ts';
import { type GaussianSettings, gaussianSettings, TaskStatistics } from './task-statistics.ts';

/**
 * P: novelty, minus the log-density of a sample under Gaussians of the current task's classes, on its principal
 * components (Lee et al., NeurIPS 2018, use the distance alone). With `of: 'inputs'` it looks at the samples; with
 * `current` or `aligned` it needs only their latents.
 */
export class NoveltyGate extends Gate {
  readonly name: string;
  readonly settings: GaussianSettings;
  #current: TaskStatistics | undefined;

  /** @throws EliError `CONFIG` naming the setting */
  constructor(settings: Partial<GaussianSettings> = {}) {
    super();
    this.settings = gaussianSettings(settings);
    this.name = this.settings.of === 'inputs' ? 'novelty' : `novelty of ${this.settings.of} latents`;
  }

  /** The gate with this state. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState): NoveltyGate {
    const gate = new NoveltyGate(settings as Partial<GaussianSettings>);
    gate.#current = TaskStatistics.fromState(tensors, settings, '');
    return gate;
  }

  override async fit(data: GateData): Promise<void> {
    const x = need(this.name, data, this.settings.of);
    this.#current = await TaskStatistics.collect(x, data.labels, this.settings);
  }

  override score(batch: GateBatch): Promise<Float32Array> {
    const x = need(this.name, batch, this.settings.of);
    const { basis, gaussians } = fitted(this.name, this.#current);
    return readOnce(x, () => neg(gaussians.logDensity(project(x, basis))));
  }

  override state(): GateState {
    const tensors = fitted(this.name, this.#current).state('');
    return { kind: 'novelty', settings: { ...this.settings }, tensors };
  }
}
