// Recomputes in float64, by the references of the op registry, what ops compute on the device.
import { type Application, observeOps } from '../../src/ops/core/define.ts';
import { type NdArray, ndarray } from '../../src/ops/core/ndarray.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/** What the reference of an op should give, where that is a choice: see `sameRelus`. */
type Recompute = (application: Application, inputs: readonly NdArray[]) => Promise<NdArray | undefined>;

/**
 * Runs `fn`, then recomputes `wanted` of its result from what no op made (parameters, data), which is read from the
 * device. Nothing that `fn` makes may be disposed: no `tidy` inside.
 */
export async function inFloat64(fn: () => readonly Tensor[], recompute?: Recompute): Promise<NdArray[]> {
  const made = new Map<Tensor, Application>();
  observeOps((application) => made.set(application.output, application));
  let wanted: readonly Tensor[];
  try {
    wanted = fn();
  } finally {
    observeOps(undefined);
  }
  const values = new Map<Tensor, NdArray>();
  const evaluate = async (tensor: Tensor): Promise<NdArray> => {
    const known = values.get(tensor);
    if (known !== undefined) return known;
    const application = made.get(tensor);
    let value: NdArray;
    if (application === undefined) {
      value = ndarray(tensor.shape, await tensor.read());
    } else {
      const inputs: NdArray[] = [];
      for (const input of application.inputs) inputs.push(await evaluate(input));
      value =
        (await recompute?.(application, inputs)) ?? application.op.reference!(inputs, application.attrs);
    }
    values.set(tensor, value);
    return value;
  };
  // In the order in which they were made, so that the recursion stays shallow.
  for (const tensor of made.keys()) await evaluate(tensor);
  return Promise.all(wanted.map(evaluate));
}

/**
 * ReLUs after a normalisation open where those on the device did. Within rounding of the kink both are right, and each
 * choice changes gradients by whole terms: what is left to compare is the arithmetic.
 */
export const sameRelus: Recompute = async ({ op, attrs, output }, inputs) => {
  if (op.name !== 'batchNorm' || !(attrs as { relu: boolean }).relu) return undefined;
  const { shape, data } = op.reference!(inputs, { ...(attrs as object), relu: false });
  const device = await output.read();
  // The smallest number above 0 is as good as 0, and open.
  return ndarray(
    shape,
    data.map((v, i) => (device[i]! > 0 ? Math.max(v, Number.MIN_VALUE) : 0)),
  );
};
