import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { gather } from '../ops/gather.ts';
import { tensor } from '../tensor/create.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** Samples on the device that a training step takes by index. */
export interface TrainingSamples {
  readonly count: number;
  /**
   * Network inputs of some samples: index [n] (u32) → [n, …]. With `step` (u32, one element, read on the device) they
   * are augmented with that step's random numbers.
   */
  inputs(index: Tensor, step?: Tensor): Tensor;
  /** Their labels: index [n] → [n] (u32). */
  labels(index: Tensor): Tensor;
}

/** Samples with labels below a number of classes. */
export interface LabelledSamples extends TrainingSamples {
  readonly classes: number;
  /** Labels of all samples on the CPU, [count]. */
  readonly hostLabels: Uint32Array;
  /** Where images are mixed: the shares of the classes [n, classes] in the `inputs` for the same index and step. */
  softLabels?(index: Tensor, step?: Tensor): Tensor;
}

/** Labels of rows that differ from those of the samples. */
export interface RowOptions {
  /** Labels of the rows, [rows], each below `classes`. Default: the labels of the samples. */
  readonly labels?: ArrayLike<number>;
  /** Default: the number of classes of the samples. */
  readonly classes?: number;
}

/**
 * A selection of other samples: sample i is row `rows[i]` of `all`, such as a task, a split or an exemplar memory. Only
 * the row numbers and labels are copied. A row may occur more than once.
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
    if (list.length === 0) throw new EliError('ARGUMENT', 'a list of rows is empty');
    const foreign = list.find((row, i) => row !== rows[i] || row >= all.count);
    if (foreign !== undefined) {
      throw new EliError('ARGUMENT', `row ${foreign} is not among ${all.count} samples`);
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

  /** See `LabelledSamples`; the augmentation of a sample depends on its place in the mini-batch and on the step. */
  inputs(index: Tensor, step?: Tensor): Tensor {
    return this.#all.inputs(gather(this.#rows, index), step);
  }

  labels(index: Tensor): Tensor {
    return gather(this.#labels, index);
  }

  /** Frees the rows; the samples themselves stay. */
  dispose(): void {
    this.#rows.dispose();
    this.#labels.dispose();
  }
}
