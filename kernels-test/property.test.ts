// Every op, in f32 and in f16 where it takes that, on random shapes, attributes and memory layouts against its float64
// reference, and its gradient along a random direction against finite differences of that reference. ELI_PROPERTY_CASES
// sets how many cases are tried in all (default 2,000), ELI_PROPERTY_SEED where they start; a failing case is shrunk and
// printed.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { detach, grad } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { floatsToHalves, halvesToFloats } from '../src/files/floats.ts';
import { type OpDefinition, registry } from '../src/ops/core/define.ts';
import { type NdArray, ndarray } from '../src/ops/core/ndarray.ts';
import { contiguous } from '../src/ops/views.ts';
import { tensor } from '../src/tensor/create.ts';
import type { FloatDType } from '../src/tensor/tensor.ts';
import { mayBeView, placed, type RandomCase, randomCase } from './support/arbitrary.ts';
import {
  applyRecorded,
  caseInputs,
  compare,
  dtypeOfInput,
  dtypesOf,
  requireGradients,
  roundedTo,
  toleranceIn,
} from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const CASES = Number(process.env.ELI_PROPERTY_CASES ?? 2000);
const SEED = Number(process.env.ELI_PROPERTY_SEED ?? 1);
const runs = Math.ceil(CASES / registry.size);

for (const op of registry.values()) {
  for (const dtype of dtypesOf(op, engine)) {
    // Shapes and layouts are the same kernels' in f16: fewer will do.
    const count = dtype === 'f16' ? Math.ceil(runs / 3) : runs;
    test(`${op.name}${dtype === 'f16' ? ' in f16' : ''}: ${count} random cases`, async () => {
      const property = fc.asyncProperty(randomCase(op), (c) => holds(op, c, dtype));
      await fc.assert(property, { seed: SEED, numRuns: count, includeErrorInReport: true });
    });
  }
}

async function holds(op: OpDefinition<unknown>, c: RandomCase, dtype: FloatDType): Promise<void> {
  const { inputs: specs, attrs } = c.case;
  const inputs = roundedTo(dtype, op, caseInputs(op, c.case, c.values));
  const want = op.reference(inputs, attrs);
  const direction = (x: NdArray, i: number): NdArray =>
    caseInputs(op, { inputs: [{ shape: x.shape, range: [-1, 1] }], attrs: null }, c.values + 1 + i)[0]!;
  const drawn = direction(want, 0);
  const weights = dtype === 'f16' ? ndarray(want.shape, halvesToFloats(floatsToHalves(drawn.data))) : drawn;
  const [got, gradients, learnt] = engine.tidy(() => {
    const tensors = inputs.map((x, i) => {
      const t = placed(
        engine,
        x,
        specs[i]!.dtype ?? dtypeOfInput(op, i, dtype),
        c.layouts[i % c.layouts.length]!,
      );
      return mayBeView(op, i) ? t : detach(contiguous(t));
    });
    if (op.backward === undefined) return [op.forward(tensors, attrs), [], []] as const;
    const wanted = requireGradients(op, tensors);
    const output = applyRecorded(op, tensors, attrs);
    const gradOutput = tensor(engine, Float32Array.from(weights.data), want.shape, output.dtype);
    const indices = wanted.map((t) => tensors.indexOf(t));
    return [output, grad(output, wanted, { gradOutput }), indices] as const;
  });
  const what = `${op.name} ${JSON.stringify(specs.map((s) => s.shape))} ${JSON.stringify(attrs)}`;
  assert.equal([...got.shape], [...want.shape], `${what}: shape`);
  const values = await Promise.all([got, ...gradients].map((t) => t.read()));
  for (const t of [got, ...gradients]) t.dispose();
  compare(values[0]!, want.data, toleranceIn(dtype, op), what);
  for (const [k, i] of learnt.entries()) {
    const x = inputs[i]!;
    const d = direction(x, 1 + i);
    // Terms of the objective, one for each element of the output.
    const parts = (step: number): number[] => {
      const moved = ndarray(
        x.shape,
        x.data.map((v, j) => v + step * d.data[j]!),
      );
      return Array.from(op.reference(inputs.with(i, moved), attrs).data, (v, j) => v * weights.data[j]!);
    };
    const [ahead, here, behind] = [parts(STEP), parts(0), parts(-STEP)];
    const slopes = ahead.map((v, j) => (v - behind[j]!) / (2 * STEP));
    const terms = Array.from(d.data, (v, j) => v * values[1 + k]![j]!);
    // What is rounded: gradients of elements, and what is summed to one where it was repeated.
    const size = 1 + Math.max(total(terms.map(Math.abs)), total(slopes.map(Math.abs)));
    // At a kink (of relu, max, …) between the two sides their slope is off by as much as they differ.
    const bend = Math.abs(total(ahead.map((v, j) => v - 2 * here[j]! + behind[j]!))) / (2 * STEP);
    fc.pre(bend < 1e-3 * size);
    // Rounding of each element's gradient, and the second derivative that central differences leave.
    compare(
      [total(terms)],
      [total(slopes)],
      { abs: size * Math.max(ROUNDED[dtype], 4 * op.tolerance.abs) + bend, rel: 1e-4 },
      `${what}: gradient ${i}`,
    );
  }
}

const total = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

const STEP = 1e-5;

/** Of gradients: a few roundings of each element. */
const ROUNDED = { f32: 2e-5, f16: 4e-3 } as const;

test.run();
