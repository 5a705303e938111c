import { checkEngine, EliError, nameOf } from '../errors.ts';
import type { Engine } from '../gpu/engine.ts';
import { showShape } from '../tensor/shape.ts';
import { isFloat, type Tensor } from '../tensor/tensor.ts';
import { observeOps } from './core/define.ts';

/**
 * Runs `fn` and checks the output of every op in it, backward passes included. For finding where a loss breaks, not for
 * training: all outputs are kept and read.
 * @throws EliError `NON_FINITE` naming the first op that made a NaN or an infinity, its operands' shapes and the element.
 */
export async function checkNumerics<T>(engine: Engine, fn: () => T): Promise<T> {
  checkEngine(engine);
  if (typeof fn !== 'function') throw new EliError('ARGUMENT', `checkNumerics: fn is ${nameOf(fn)}`);
  const made: { readonly what: string; readonly value: Tensor }[] = [];
  observeOps(({ op, inputs, output }) => {
    if (output.engine !== engine || !isFloat(output.dtype)) return;
    const shapes = inputs.map((input) => showShape(input.shape)).join(', ');
    // A view keeps the buffer when the op's own tensor is disposed.
    const value = engine.keep(output.view(output.shape, output.strides, output.offset));
    made.push({ what: `${op.name} of ${shapes}`, value });
  });
  try {
    const result = fn();
    observeOps(undefined);
    for (const { what, value } of made) {
      const values = await value.readFloats();
      const at = values.findIndex((v) => !Number.isFinite(v));
      if (at === -1) continue;
      throw new EliError(
        'NON_FINITE',
        `${what} made ${values[at]}, first at element ${at} of ${showShape(value.shape)}`,
        { hint: 'everything before it was finite: look at the values of its inputs' },
      );
    }
    return result;
  } finally {
    observeOps(undefined);
    for (const { value } of made) value.dispose();
  }
}
