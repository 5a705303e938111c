import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { gather } from '../ops/gather.ts';
import { tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';
import type { LabelledSamples } from './labelled-samples.ts';

/** Labels of the rows, where they differ from those of the samples. */
export interface RowOptions {
  /** Labels of the rows, [rows], each below `classes`; default: those that the samples have. */
  readonly labels?: ArrayLike<number>;
  /** Default: the classes of the samples. */
  readonly classes?: number;
}

/**
 * Some of other samples, as a list of rows: sample i is row `rows[i]` of `all`. A task, a split or an exemplar memory is
 * such a list; nothing is copied but the rows' numbers and labels. A row may occur more than once.
 */
export class RowSamples implements LabelledSamples {
  readonly count: number;
  readonly classes: number;
  readonly hostLabels: Uint32Array;
  readonly #all: LabelledSamples;
  readonly #rows: Tensor;
  readonly #labels: Tensor;

  /**
   * @throws EliError `ARGUMENT` for no rows, a row that is not among the samples, or a label that is not below `classes`;
   * `SHAPE` when there are not as many labels as rows.
   */
  constructor(engine: Engine, all: LabelledSamples, rows: ArrayLike<number>, options: RowOptions = {}) {
    const list = Uint32Array.from(rows);
    const { classes = all.classes, labels = list.map((row) => all.hostLabels[row]!) } = options;
    const foreign = list.find((row, i) => row !== rows[i] || row >= all.count);
    if (list.length === 0 || foreign !== undefined) {
      throw new EliError(
        'ARGUMENT',
        foreign === undefined
          ? 'a list of rows is empty'
          : `row ${foreign} is not among ${all.count} samples`,
      );
    }
    if (labels.length !== list.length) {
      throw new EliError('SHAPE', `${labels.length} labels do not fit ${list.length} rows`);
    }
    this.hostLabels = Uint32Array.from(labels);
    const high = this.hostLabels.find((label) => label >= classes);
    if (high !== undefined) throw new EliError('ARGUMENT', `label ${high} is not below ${classes} classes`);
    this.count = list.length;
    this.classes = classes;
    this.#all = all;
    this.#rows = engine.keep(tensor(engine, list));
    this.#labels = engine.keep(tensor(engine, this.hostLabels));
  }

  /** See `LabelledSamples`; what is drawn for a sample depends on its place in the minibatch and on the step. */
  inputs(index: Tensor, step?: Tensor): Tensor {
    return this.#all.inputs(gather(this.#rows, index), step);
  }

  labels(index: Tensor): Tensor {
    return gather(this.#labels, index);
  }

  /** The samples themselves stay. */
  dispose(): void {
    this.#rows.dispose();
    this.#labels.dispose();
  }
}
