import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { compact, contiguous, copyInto } from '../ops/views.ts';
import { zeros } from '../tensor/create.ts';
import { denseStrides, expectShape } from '../tensor/shape.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';

/** Parameters start at multiples of 64 elements, which satisfies the offset alignment of every adapter. */
export const ALIGN = 64;

/** Gradients that the kernel packs in one dispatch. */
const SOURCES = 6;

/**
 * All parameters of a model in one buffer, so that an optimiser updates them in one dispatch. The parameters become views
 * of it, with zeros as padding between them.
 */
export class FlatParameters {
  readonly engine: Engine;
  readonly values: Tensor;
  readonly parameters: readonly Tensor[];
  /** First element of each parameter. */
  readonly offsets: readonly number[];

  /** @throws EliError `ARGUMENT` without parameters, or for one that is not dense f32. */
  constructor(parameters: readonly Tensor[]) {
    if (parameters.length === 0)
      throw new EliError('ARGUMENT', 'an optimiser or average needs at least one parameter');
    this.engine = parameters[0]!.engine;
    this.parameters = [...parameters];
    let size = 0;
    this.offsets = parameters.map((parameter, i) => {
      if (parameter.dtype !== 'f32' || !parameter.isContiguous)
        throw new EliError('ARGUMENT', `parameter ${i} (${parameter.toString()}) is not dense f32`);
      const offset = size;
      size += Math.ceil(parameter.size / ALIGN) * ALIGN;
      return offset;
    });
    this.values = this.engine.keep(zeros(this.engine, [size]));
    parameters.forEach((parameter, i) => {
      copyInto(parameter, this.values, denseStrides(parameter.shape), this.offsets[i]!);
      parameter.rebind(this.values.storage, this.offsets[i]!);
    });
  }

  /** A tensor of the same layout (an optimiser's state, an average), zero unless copied from the values. */
  like(copy = false): Tensor {
    const other = this.engine.keep(zeros(this.engine, this.values.shape));
    if (copy) copyInto(this.values, other);
    return other;
  }

  /** The parts of a tensor of the same layout that belong to the parameters, as separate parameters. */
  viewsOf(other: Tensor): Tensor[] {
    return this.parameters.map(({ shape }, i) => {
      const view = this.engine.keep(other.view(shape, denseStrides(shape), this.offsets[i]!));
      view.requiresGrad = true;
      return view;
    });
  }

  /** Gathers one gradient per parameter into `target`, six per dispatch. @throws EliError `SHAPE` when one does not fit. */
  pack(gradients: readonly Tensor[], target: Tensor): void {
    const count = this.parameters.length;
    if (gradients.length !== count)
      throw new EliError('ARGUMENT', `${gradients.length} gradients for ${count} parameters`);
    gradients.forEach((gradient, i) => {
      checkDType('optimizer.step', gradient, 'f32');
      expectShape(`gradient ${i}`, gradient.shape, this.parameters[i]!.shape);
    });
    // A gradient may be a view (of a transposed or expanded result): the kernel reads dense vectors of four.
    const dense = gradients.map((g) => (g.offset % 4 === 0 ? contiguous(g) : compact(g)));
    for (let first = 0; first < dense.length; first += SOURCES) {
      const chunk = dense.slice(first, first + SOURCES);
      const fours = chunk.reduce((total, g) => total + Math.ceil(g.size / 4), 0);
      // Bindings without a source get the first one and a size of zero.
      const sources = Array.from({ length: SOURCES }, (_, i) => chunk[i] ?? chunk[0]!);
      this.engine.run('optim/pack.wgsl', {
        storages: [...sources, target].map((g) => g.storage),
        params: {
          sizes: sources.map((_, i) => chunk[i]?.size ?? 0),
          start: sources.map((g) => g.offset / 4),
          count: chunk.length,
          place: sources.map((_, i) => (this.offsets[first + i] ?? 0) / 4),
        },
        groups: [Math.min(Math.ceil(fours / 64), 32768), Math.ceil(fours / 64 / 32768)],
      });
    }
    dense.forEach((tensor, i) => {
      if (tensor !== gradients[i]) tensor.dispose();
    });
  }

  /** Releases the flat buffer, which is freed when its parameters are disposed too. */
  dispose(): void {
    this.values.dispose();
  }
}
