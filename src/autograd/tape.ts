import { EliError } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { full } from '../tensor/create.ts';
import { sameShape, showShape } from '../tensor/shape.ts';
import type { Tensor } from '../tensor/tensor.ts';

/** What produced a tensor: the inputs, and how a gradient of the output becomes gradients of the inputs. */
export interface TapeNode {
  readonly op: string;
  readonly inputs: readonly Tensor[];
  /** One gradient an input; undefined where none is needed or none exists. */
  readonly backward: (grad: Tensor, needs: readonly boolean[]) => readonly (Tensor | undefined)[];
}

interface Recorded extends TapeNode {
  readonly order: number;
}

const producers = new WeakMap<Tensor, Recorded>();
const recordingOff = new WeakMap<Engine, number>();
let counter = 0;
let accumulate: ((a: Tensor, b: Tensor) => Tensor) | undefined;

/** Tells the tape how two gradients of one tensor are added; `ops` calls this once. */
export function setAccumulate(add: (a: Tensor, b: Tensor) => Tensor): void {
  accumulate = add;
}

/** Whether results of ops on this engine are put on the tape. */
export function isRecording(engine: Engine): boolean {
  return (recordingOff.get(engine) ?? 0) === 0;
}

/** Runs `fn` without recording: its results have no gradient. */
export function noGrad<T>(engine: Engine, fn: () => T): T {
  recordingOff.set(engine, (recordingOff.get(engine) ?? 0) + 1);
  try {
    return fn();
  } finally {
    recordingOff.set(engine, recordingOff.get(engine)! - 1);
  }
}

/** Puts `output` on the tape if a gradient may be wanted through it. */
export function record(output: Tensor, node: TapeNode): void {
  if (!isRecording(output.engine) || !node.inputs.some((input) => input.requiresGrad)) return;
  output.requiresGrad = true;
  producers.set(output, { ...node, order: counter++ });
}

/** The same values as a leaf: no gradient flows back through it. */
export function detach(tensor: Tensor): Tensor {
  return tensor.view(tensor.shape, tensor.strides, tensor.offset);
}

export interface GradOptions {
  /** Gradient of what follows with respect to `output`; ones by default. Shape of `output`. */
  readonly gradOutput?: Tensor;
  /** Record the backward pass too, so that the gradients can be differentiated again. */
  readonly createGraph?: boolean;
  /** Zeros for inputs that `output` does not depend on, instead of an error. Default false. */
  readonly materialize?: boolean;
}

/**
 * Gradients of `output` (summed, unless `gradOutput` weighs its elements) with respect to each of `inputs`, in their
 * shapes and dtypes. Inputs may be parameters, data or intermediate results.
 * @throws EliError `NOT_DIFFERENTIABLE` when an input does not require a gradient or `output` does not depend on it.
 */
export function grad(output: Tensor, inputs: readonly Tensor[], options: GradOptions = {}): Tensor[] {
  const { engine } = output;
  const seed = options.gradOutput;
  if (seed !== undefined && !sameShape(seed.shape, output.shape)) {
    throw new EliError(
      'SHAPE',
      `grad: gradOutput has shape ${showShape(seed.shape)}, the output ${showShape(output.shape)}`,
    );
  }
  if (seed !== undefined && seed.dtype !== output.dtype) {
    throw new EliError('DTYPE', `grad: gradOutput is ${seed.dtype}, the output ${output.dtype}`, {
      hint: 'a gradient has the dtype of what it is of',
    });
  }
  inputs.forEach((input, i) => {
    if (!input.requiresGrad) {
      throw new EliError(
        'NOT_DIFFERENTIABLE',
        `grad: input ${i} (shape ${showShape(input.shape)}) does not require a gradient`,
        { hint: 'set requiresGrad = true before it is used' },
      );
    }
  });
  const ones = (): Tensor => full(engine, output.shape, 1, output.dtype);
  // A graph that is to be differentiated again needs its intermediate tensors: the caller's scope holds them.
  const { createGraph = false, materialize = false } = options;
  if (createGraph) return walkBack(output, inputs, seed ?? ones(), { free: false, materialize });
  return engine.tidy(() =>
    noGrad(engine, () => walkBack(output, inputs, seed ? detach(seed) : ones(), { free: true, materialize })),
  );
}

/** With `free`, a gradient is disposed once it has gone on to the inputs, so that its buffer is used again. */
function walkBack(
  output: Tensor,
  inputs: readonly Tensor[],
  seed: Tensor,
  { free, materialize }: { readonly free: boolean; readonly materialize: boolean },
): Tensor[] {
  const { engine } = output;
  const wanted = new Set(inputs);
  const leads = leadingTo(output, wanted);
  const grads = new Map<Tensor, Tensor>([[output, seed]]);
  // Every node comes after the nodes of its inputs, so walking from the newest meets complete gradients only.
  for (const tensor of [...leads].reverse()) {
    const gradient = grads.get(tensor);
    const node = producers.get(tensor);
    if (gradient === undefined || node === undefined) continue;
    const needs = node.inputs.map((input) => leads.has(input));
    if (!needs.includes(true)) continue;
    const backward = () => node.backward(gradient, needs);
    const results = free
      ? engine.tidy(() => distinct(backward(), [gradient, tensor, ...node.inputs]))
      : backward();
    node.inputs.forEach((input, i) => {
      const result = results[i];
      if (!needs[i] || result === undefined) return;
      if (!sameShape(result.shape, input.shape)) {
        throw new EliError(
          'SHAPE',
          `backward of ${node.op}: gradient ${showShape(result.shape)} for input ${i} of shape ${showShape(input.shape)}`,
        );
      }
      if (result.dtype !== input.dtype) {
        throw new EliError(
          'DTYPE',
          `backward of ${node.op}: gradient of ${result.dtype} for input ${i} of ${input.dtype}`,
        );
      }
      const sum = grads.get(input);
      grads.set(input, sum === undefined ? result : accumulate!(sum, result));
      if (free && sum !== undefined) {
        sum.dispose();
        result.dispose();
      }
    });
    if (free && !wanted.has(tensor)) {
      grads.delete(tensor);
      gradient.dispose();
    }
  }
  // Each result is a separate tensor, so that the caller may dispose them one by one.
  const results = inputs.map((input, i) => {
    const gradient = grads.get(input);
    if (gradient !== undefined) return gradient;
    // Reached through piecewise constant functions only: the gradient is zero.
    if (leads.has(input) || materialize) return full(input.engine, input.shape, 0, input.dtype);
    throw new EliError(
      'NOT_DIFFERENTIABLE',
      `grad: the output does not depend on input ${i} (shape ${showShape(input.shape)})`,
    );
  });
  return distinct(results, [seed]);
}

/** A backward may pass on what it got, or return one tensor twice: each result becomes a separate tensor to dispose. */
function distinct<T extends Tensor | undefined>(results: readonly T[], others: readonly Tensor[]): T[] {
  const seen = new Set(others);
  return results.map((result) => {
    if (result === undefined || !seen.has(result)) {
      if (result !== undefined) seen.add(result);
      return result;
    }
    return detach(result) as T;
  });
}

/** The tensors between `output` and `targets`, both included, along which a gradient flows; inputs come before outputs. */
function leadingTo(output: Tensor, targets: ReadonlySet<Tensor>): Set<Tensor> {
  const inputsOf = (tensor: Tensor): readonly Tensor[] => producers.get(tensor)?.inputs ?? [];
  const orderOf = (tensor: Tensor): number => producers.get(tensor)?.order ?? -1;
  const reached = new Set([output]);
  // What is added on the way is visited too.
  for (const tensor of reached) for (const input of inputsOf(tensor)) reached.add(input);
  const leads = new Set<Tensor>();
  for (const tensor of [...reached].sort((a, b) => orderOf(a) - orderOf(b))) {
    if (targets.has(tensor) || inputsOf(tensor).some((input) => leads.has(input))) leads.add(tensor);
  }
  return leads;
}
