import { EliError, nameOf } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { full } from '../tensor/create.ts';
import { sameShape, showShape } from '../tensor/shape.ts';
import { checkTensor, type Tensor } from '../tensor/tensor.ts';

/** What produced a tensor: its inputs, and how the gradient of the output becomes gradients of the inputs. */
interface TapeNode {
  readonly op: string;
  readonly inputs: readonly Tensor[];
  /** One gradient per input; undefined where none is needed or none exists. */
  readonly backward: (grad: Tensor, needs: readonly boolean[]) => readonly (Tensor | undefined)[];
}

/** The nodes by their outputs, in the order of recording. */
const producers = new WeakMap<Tensor, TapeNode & { readonly order: number }>();
const recordingOff = new WeakMap<Engine, number>();
let counter = 0;
let accumulate: ((a: Tensor, b: Tensor) => Tensor) | undefined;

/** Sets how two gradients of one tensor are added; `ops` calls this once. */
export function setAccumulate(add: (a: Tensor, b: Tensor) => Tensor): void {
  accumulate = add;
}

/** Whether ops on this engine are recorded. */
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

/** Records how `output` was made if it depends on a tensor that requires a gradient. */
export function record(output: Tensor, node: TapeNode): void {
  if (!isRecording(output.engine) || !node.inputs.some((input) => input.requiresGrad)) return;
  output.requiresGrad = true;
  producers.set(output, { ...node, order: counter++ });
}

/** The same values as a leaf: no gradient flows through it. */
export function detach(tensor: Tensor): Tensor {
  checkTensor('detach: tensor', tensor);
  return tensor.view(tensor.shape, tensor.strides, tensor.offset);
}

/** How `grad` takes gradients. */
export interface GradOptions {
  /** Gradient with respect to `output`, in its shape and dtype. Default: ones. */
  readonly gradOutput?: Tensor;
  /** Record the backward pass too, so that the gradients can be differentiated. Default false. */
  readonly createGraph?: boolean;
  /** Zeros for inputs that `output` does not depend on, instead of an error. Default false. */
  readonly materialize?: boolean;
}

/**
 * Gradients of the sum of `output` (weighted by `gradOutput`) with respect to each of `inputs`, in their shapes and
 * dtypes. Inputs may be parameters, data or intermediate results.
 * @throws EliError `NOT_DIFFERENTIABLE` when an input does not require a gradient or `output` does not depend on it,
 * `SHAPE` or `DTYPE` for a `gradOutput` that does not fit.
 */
export function grad(output: Tensor, inputs: readonly Tensor[], options: GradOptions = {}): Tensor[] {
  checkTensor('grad: output', output);
  const { engine } = output;
  const { gradOutput, createGraph = false, materialize = false } = options;
  if (gradOutput !== undefined) checkGradient('grad: gradOutput', gradOutput, output);
  if (!Array.isArray(inputs)) {
    throw new EliError('ARGUMENT', `grad: the inputs are ${nameOf(inputs)}, must be an array of tensors`);
  }
  for (const input of inputs) checkTensor('grad: an input', input);
  const plain = inputs.findIndex((input) => !input.requiresGrad);
  if (plain !== -1) {
    throw new EliError(
      'NOT_DIFFERENTIABLE',
      `grad: input ${plain} (shape ${showShape(inputs[plain]!.shape)}) does not require a gradient`,
      { hint: 'set requiresGrad = true before it is used' },
    );
  }
  const ones = (): Tensor => full(engine, output.shape, 1, output.dtype);
  // With `createGraph`, the intermediate tensors are needed again: they stay in the caller's scope.
  if (createGraph) return walkBack(output, inputs, gradOutput ?? ones(), { free: false, materialize });
  return engine.tidy(() =>
    noGrad(engine, () => {
      const seed = gradOutput === undefined ? ones() : detach(gradOutput);
      return walkBack(output, inputs, seed, { free: true, materialize });
    }),
  );
}

/** @throws EliError `SHAPE` or `DTYPE` unless a gradient fits the tensor that it belongs to. */
function checkGradient(what: string, gradient: Tensor, { shape, dtype }: Tensor): void {
  if (!sameShape(gradient.shape, shape)) {
    throw new EliError(
      'SHAPE',
      `${what} has shape ${showShape(gradient.shape)} for a tensor of ${showShape(shape)}`,
    );
  }
  if (gradient.dtype !== dtype) {
    throw new EliError('DTYPE', `${what} is ${gradient.dtype} for a tensor of ${dtype}`);
  }
}

/** With `free`, a gradient is disposed once it is propagated to the inputs, so that its buffer is reused. */
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
  // Nodes come after those of their inputs: from the newest on, every gradient is complete when it is reached.
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
      checkGradient(`backward of ${node.op}: the gradient of input ${i}`, result, input);
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
  const results = inputs.map((input, i) => {
    const gradient = grads.get(input);
    if (gradient !== undefined) return gradient;
    // Reached only through piecewise constant functions: the gradient is zero.
    if (leads.has(input) || materialize) return full(input.engine, input.shape, 0, input.dtype);
    throw new EliError(
      'NOT_DIFFERENTIABLE',
      `grad: the output does not depend on input ${i} (shape ${showShape(input.shape)})`,
    );
  });
  return distinct(results, [seed]);
}

/** Makes every result a separate tensor to dispose: neither equal to another one nor one of `others`. */
function distinct<T extends Tensor | undefined>(results: readonly T[], others: readonly Tensor[]): T[] {
  const seen = new Set(others);
  return results.map((result) => {
    if (result !== undefined && seen.has(result)) return detach(result) as T;
    if (result !== undefined) seen.add(result);
    return result;
  });
}

/** The tensors on the paths from `targets` to `output`, both included; inputs come before outputs. */
function leadingTo(output: Tensor, targets: ReadonlySet<Tensor>): Set<Tensor> {
  const inputsOf = (tensor: Tensor): readonly Tensor[] => producers.get(tensor)?.inputs ?? [];
  const orderOf = (tensor: Tensor): number => producers.get(tensor)?.order ?? -1;
  const reached = new Set([output]);
  // The loop also visits what it adds.
  for (const tensor of reached) for (const input of inputsOf(tensor)) reached.add(input);
  const leads = new Set<Tensor>();
  for (const tensor of [...reached].sort((a, b) => orderOf(a) - orderOf(b))) {
    if (targets.has(tensor) || inputsOf(tensor).some((input) => leads.has(input))) leads.add(tensor);
  }
  return leads;
}
