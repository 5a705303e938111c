// From the op registry, on the cases the op itself names: every op against its float64 reference, every gradient against
// finite differences of that reference, and every fused op, with its gradients, against the plain composition it names.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { grad } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { floatsToHalves, halvesToFloats } from '../src/files/floats.ts';
import { type OpCase, type OpDefinition, registry, type Tolerance } from '../src/ops/core/define.ts';
import { type NdArray, ndarray } from '../src/ops/core/ndarray.ts';
import { tensor } from '../src/tensor/create.ts';
import type { FloatDType, Tensor } from '../src/tensor/tensor.ts';
import {
  applyRecorded,
  caseInputs,
  compare,
  dtypeOfInput,
  dtypesOf,
  requireGradients,
  roundedTo,
  toleranceIn,
  toTensor,
} from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

for (const op of registry.values()) {
  for (const dtype of dtypesOf(op, engine)) {
    op.cases.forEach((c, number) => {
      const name = `${op.name} case ${number}${dtype === 'f16' ? ' in f16' : ''}`;
      test(`${name} against float64`, async () => {
        const inputs = roundedTo(dtype, op, caseInputs(op, c, number));
        const got = engine.tidy(() =>
          op.forward(
            inputs.map((x, i) => toTensor(engine, x, c.inputs[i]!, dtypeOfInput(op, i, dtype))),
            c.attrs,
          ),
        );
        const want = op.reference(inputs, c.attrs);
        assert.equal(got.shape, want.shape, 'shape');
        compare(await got.read(), want.data, toleranceIn(dtype, op), op.name);
        got.dispose();
      });
      if (op.backward !== undefined) {
        test(`${name}: gradient against finite differences`, () => checkGradient(op, c, number, dtype));
      }
    });
  }
}

for (const { plain, ...op } of registry.values()) {
  if (plain === undefined) continue;
  op.cases.forEach((c, number) => {
    test(`${op.name} case ${number} is its plain composition`, async () => {
      const inputs = caseInputs(op, c, number);
      const run = (apply: (tensors: readonly Tensor[]) => Tensor): Tensor[] =>
        engine.tidy(() => {
          const tensors = inputs.map((x, i) => toTensor(engine, x, c.inputs[i]!));
          const wanted = op.backward === undefined ? [] : requireGradients(op, tensors);
          const y = apply(tensors);
          const weights = Float32Array.from(randomLike(op, y.shape, 1000 + number).data);
          const gradOutput = tensor(engine, weights, y.shape);
          return [y, ...grad(y, wanted, { gradOutput })];
        });
      const fused = run((tensors) => applyRecorded(op, tensors, c.attrs));
      const composed = run((tensors) => plain(tensors, c.attrs));
      for (const [i, got] of fused.entries()) {
        const [values, want] = [await got.readFloats(), await composed[i]!.readFloats()];
        assert.equal(got.shape, composed[i]!.shape, 'shape');
        // Either may be off by the op's tolerance; a gradient, by that of the largest one.
        const scale = i === 0 ? 2 : 4 * Math.max(1, ...want.map(Math.abs));
        const { abs, rel } = op.tolerance;
        compare(values, want, { abs: scale * abs, rel: 2 * rel }, i === 0 ? op.name : `gradient ${i - 1}`);
      }
      for (const t of [...fused, ...composed]) t.dispose();
    });
  });
}

/**
 * ∂ Σ w·op(x) / ∂x on the device against central differences of the float64 reference, for a random w: element by
 * element for small cases, along random directions for large ones.
 */
async function checkGradient(
  op: OpDefinition<unknown>,
  c: OpCase<unknown>,
  number: number,
  dtype: FloatDType,
): Promise<void> {
  const inputs = roundedTo(dtype, op, caseInputs(op, c, number));
  const y = op.reference(inputs, c.attrs);
  const drawn = randomLike(op, y.shape, 1000 + number).data;
  const weights = dtype === 'f16' ? halvesToFloats(floatsToHalves(drawn)) : drawn;
  const gradients = engine.tidy(() => {
    const tensors = inputs.map((x, i) => toTensor(engine, x, c.inputs[i]!, dtypeOfInput(op, i, dtype)));
    const wanted = requireGradients(op, tensors);
    const out = applyRecorded(op, tensors, c.attrs);
    const results = grad(out, wanted, {
      gradOutput: tensor(engine, Float32Array.from(weights), y.shape, out.dtype),
    });
    for (const [i, result] of results.entries()) assert.is(result.dtype, wanted[i]!.dtype);
    return wanted.map((t, i): [number, Tensor] => [tensors.indexOf(t), results[i]!]);
  });
  assert.ok(gradients.length > 0, `${op.name} has a gradient to check`);
  for (const [position, gradient] of gradients) {
    const got = await gradient.readFloats();
    gradient.dispose();
    const objective = (x: NdArray): number => {
      const out = op.reference(inputs.with(position, x), c.attrs);
      return out.data.reduce((total, v, i) => total + v * weights[i]!, 0);
    };
    const x = inputs[position]!;
    const directions =
      x.data.length * y.data.length <= 20000
        ? unitVectors(x)
        : [0, 1, 2].map((k) => randomLike(op, x.shape, 2000 + k));
    const want = directions.map(
      (d) => (objective(moved(x, d, STEP)) - objective(moved(x, d, -STEP))) / (2 * STEP),
    );
    const along = directions.map((d) => d.data.reduce((total, v, i) => total + v * got[i]!, 0));
    const scale = Math.max(1, ...want.map(Math.abs));
    const tolerance: Tolerance = {
      abs: scale * Math.max(dtype === 'f16' ? HALF_GRADIENT : 2e-5, 4 * op.tolerance.abs),
      rel: 1e-4,
    };
    compare(along, want, tolerance, `${op.name} gradient of input ${position}`);
  }
}

const STEP = 1e-5;

/** Of gradients whose intermediate results are f16: a few roundings by 2⁻¹¹ each. */
const HALF_GRADIENT = 4e-3;

function randomLike(op: { readonly name: string }, shape: readonly number[], number: number): NdArray {
  return caseInputs(op, { inputs: [{ shape }], attrs: null }, number)[0]!;
}

function unitVectors(x: NdArray): NdArray[] {
  return Array.from(x.data, (_, i) => {
    const d = ndarray(x.shape);
    d.data[i] = 1;
    return d;
  });
}

function moved(x: NdArray, direction: NdArray, step: number): NdArray {
  return ndarray(
    x.shape,
    x.data.map((v, i) => v + step * direction.data[i]!),
  );
}

test.run();
