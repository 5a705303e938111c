import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { compact, contiguous, copyInto } from '../ops/views.ts';
import { zeros } from '../tensor/create.ts';
import { denseStrides, expectShape } from '../tensor/shape.ts';
import { checkDType, type Tensor } from '../tensor/tensor.ts';

/** Parameters start at multiples of 64 elements, which satisfies every adapter's offset alignment. */
export const ALIGN = 64;

/**
 * All parameters of a model in one buffer, so that an optimiser updates them in one dispatch. The parameters become
 * views of it; the padding between them stays zero.
 */
export class FlatParameters {
  readonly engine: Engine;
  readonly values: Tensor;
  readonly parameters: readonly Tensor[];
  /** First element of each parameter. */
  readonly offsets: readonly number[];

  /** @throws EliError `ARGUMENT` for no parameters, or one that is not dense f32. */
  constructor(parameters: readonly Tensor[]) {
    const first = parameters[0];
    if (first === undefined)
      throw new EliError('ARGUMENT', 'an optimiser or average needs at least one parameter');
    this.engine = first.engine;
    this.parameters = [...parameters];
    const offsets: number[] = [];
    let size = 0;
    for (const parameter of parameters) {
      if (parameter.dtype !== 'f32' || !parameter.isContiguous) {
        const which = `parameter ${offsets.length} (${parameter.toString()})`;
        throw new EliError('ARGUMENT', `${which} is not dense f32`);
      }
      offsets.push(size);
      size += Math.ceil(parameter.size / ALIGN) * ALIGN;
    }
    this.offsets = offsets;
    this.values = this.engine.keep(zeros(this.engine, [size]));
    parameters.forEach((parameter, i) => {
      copyInto(parameter, this.values, denseStrides(parameter.shape), offsets[i]!);
      parameter.rebind(this.values.storage, offsets[i]!);
    });
  }

  /** A tensor of the same layout (an optimiser's state, an average), zero unless copied from the values. */
  like(copy = false): Tensor {
    const other = this.engine.keep(zeros(this.engine, this.values.shape));
    if (copy) copyInto(this.values, other, [1], 0);
    return other;
  }

  /** The parameters' places in a tensor of the same layout, as parameters on their own. */
  viewsOf(other: Tensor): Tensor[] {
    return this.parameters.map((parameter, i) => {
      const view = this.engine.keep(
        other.view(parameter.shape, denseStrides(parameter.shape), this.offsets[i]!),
      );
      view.requiresGrad = true;
      return view;
    });
  }

  /** Gathers one gradient per parameter into `target`, six a dispatch. @throws EliError `SHAPE` when one does not fit. */
  pack(gradients: readonly Tensor[], target: Tensor): void {
    if (gradients.length !== this.parameters.length) {
      const parameters = `${this.parameters.length} parameters`;
      throw new EliError('ARGUMENT', `${gradients.length} gradients for ${parameters}`);
    }
    gradients.forEach((gradient, i) => {
      checkDType('optimizer.step', gradient, 'f32');
      expectShape(`gradient ${i}`, gradient.shape, this.parameters[i]!.shape);
    });
    // A gradient may be a view (of a transposed or expanded result): the kernel reads dense ones, by vectors of four.
    const dense = gradients.map((g) => (g.offset % 4 === 0 ? contiguous(g) : compact(g)));
    for (let first = 0; first < dense.length; first += SOURCES) {
      const chunk = dense.slice(first, first + SOURCES);
      const sizes = chunk.map((g) => g.size);
      const fours = sizes.reduce((total, size) => total + Math.ceil(size / 4), 0);
      // Bindings without a source get the first one and a size of zero.
      const sources = Array.from({ length: SOURCES }, (_, i) => chunk[i] ?? chunk[0]!);
      this.engine.run('optim/pack.wgsl', {
        storages: [...sources.map((g) => g.storage), target.storage],
        params: {
          sizes: Array.from({ length: SOURCES }, (_, i) => sizes[i] ?? 0),
          start: sources.map((g) => g.offset / 4),
          count: chunk.length,
          place: Array.from({ length: SOURCES }, (_, i) => (this.offsets[first + i] ?? 0) / 4),
        },
        groups: [Math.min(Math.ceil(fours / 64), 32768), Math.ceil(fours / 64 / 32768)],
      });
    }
    dense.forEach((tensor, i) => {
      if (tensor !== gradients[i]) tensor.dispose();
    });
  }

  /** Frees the flat buffer, and with it the parameters that live in it. */
  dispose(): void {
    this.values.dispose();
  }
}

const SOURCES = 6;
