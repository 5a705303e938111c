import { EliError } from '../../errors.ts';
import { sub } from '../../ops/binary.ts';
import { readOnce } from '../moments.ts';
import { project } from './basis.ts';
import { fitted, Gate, type GateBatch, type GateData, type GateState, need } from './gate.ts';
import { TaskStatistics } from './task-statistics.ts';

/**
 * The log-likelihood ratio of a sample under Gaussians of the old task's classes, from its saved statistics, and under
 * Gaussians of the current task's classes: quadratic discriminant analysis of the two tasks.
 */
export class StatisticsGate extends Gate {
  readonly name: string;
  readonly statistics: TaskStatistics;
  #current: TaskStatistics | undefined;

  constructor(statistics: TaskStatistics) {
    super();
    this.statistics = statistics;
    this.name = `saved statistics of ${statistics.settings.of === 'inputs' ? 'inputs' : 'latents'}`;
  }

  /** The gate with this state. @throws EliError `FORMAT` */
  static fromState({ settings, tensors }: GateState): StatisticsGate {
    const gate = new StatisticsGate(TaskStatistics.fromState(tensors, settings));
    gate.#current = TaskStatistics.fromState(tensors, settings, 'new.');
    if (gate.#current.width !== gate.statistics.width)
      throw new EliError('FORMAT', 'the statistics of the old and the new task have different dimensions');
    return gate;
  }

  override async fit(data: GateData): Promise<void> {
    const { basis, settings, width } = this.statistics;
    const x = need(this.name, data, settings.of);
    if (x.shape[1] !== width) {
      throw new EliError(
        'SHAPE',
        `the gate ${this.name}: rows of ${x.shape[1]} values, the statistics are of ${width}`,
        { hint: 'give the same kind of rows as when the statistics were collected' },
      );
    }
    this.#current = await TaskStatistics.collect(x, data.labels, settings, basis);
  }

  override score(batch: GateBatch): Promise<Float32Array> {
    const { basis, settings, gaussians } = this.statistics;
    const x = need(this.name, batch, settings.of);
    const current = fitted(this.name, this.#current);
    return readOnce(x, () => {
      const y = project(x, basis);
      return sub(gaussians.logDensity(y), current.gaussians.logDensity(y));
    });
  }

  override state(): GateState {
    const current = fitted(this.name, this.#current);
    return {
      kind: 'statistics',
      settings: { ...this.statistics.settings },
      tensors: { ...this.statistics.state(), ...current.state('new.') },
    };
  }
}
