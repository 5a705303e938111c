// Every op, in f32 and in f16 where it takes that, on random shapes, attributes and memory layouts against its float64 reference, and its gradient along a
// random direction against finite differences of that reference. ELI_PROPERTY_CASES sets how many cases are tried in
// all (default 2,000), ELI_PROPERTY_SEED where they start; a failing case is shrunk and printed.
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { detach, grad, record } from '../src/autograd/tape.ts';
import '../src/ops/all.ts';
import { floatsToHalves, halvesToFloats } from '../src/files/floats.ts';
import { type OpDefinition, registry, toleranceIn } from '../src/ops/define.ts';
import { type NdArray, ndarray } from '../src/ops/ndarray.ts';
import { contiguous } from '../src/ops/views.ts';
import { tensor } from '../src/tensor/create.ts';
import type { FloatDType } from '../src/tensor/tensor.ts';
import { mayBeView, opsWithoutCases, placed, type RandomCase, randomCase } from './support/arbitrary.ts';
import { caseInputs, compare, dtypeOfInput, dtypesOf, roundedTo } from './support/compare.ts';
import { closeEngine, openEngine } from './support/engine.ts';

const engine = await openEngine();
test.after(closeEngine);

const CASES = Number(process.env.ELI_PROPERTY_CASES ?? 2000);
const SEED = Number(process.env.ELI_PROPERTY_SEED ?? 1);
const runs = Math.ceil(CASES / registry.size);

test('every op has random cases', () => {
  assert.equal(opsWithoutCases(), []);
});

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

/** Inputs that are piecewise constant or have no gradient by design. */
const NO_GRADIENT: Readonly<Record<string, readonly number[]>> = { where: [0], leakyReluBackward: [1] };

async function holds(op: OpDefinition<unknown>, c: RandomCase, dtype: FloatDType): Promise<void> {
  const { inputs: specs, attrs } = c.case;
  const inputs = roundedTo(dtype, op, caseInputs(op, c.case, c.values));
  const want = op.reference(inputs, attrs);
  const direction = (x: NdArray, i: number): NdArray =>
    caseInputs(op, { inputs: [{ shape: x.shape, range: [-1, 1] }], attrs: null }, c.values + 1 + i)[0]!;
  const drawn = direction(want, 0);
  const weights = dtype === 'f16' ? ndarray(want.shape, halvesToFloats(floatsToHalves(drawn.data))) : drawn;
  const learnt = [...specs.keys()].filter(
    (i) => op.backward !== undefined && specs[i]!.dtype === undefined && !NO_GRADIENT[op.name]?.includes(i),
  );
  const [got, gradients] = engine.tidy(() => {
    const tensors = inputs.map((x, i) => {
      const t = placed(
        engine,
        x,
        specs[i]!.dtype ?? dtypeOfInput(op, i, dtype),
        c.layouts[i % c.layouts.length]!,
      );
      return mayBeView(op.name, i) ? t : detach(contiguous(t));
    });
    for (const i of learnt) tensors[i]!.requiresGrad = true;
    const output = op.forward(tensors, attrs);
    if (learnt.length === 0) return [output, []] as const;
    record(output, {
      op: op.name,
      inputs: tensors,
      backward: (g, needs) => op.backward!({ grad: g, inputs: tensors, output, attrs, needs }),
    });
    const gradOutput = tensor(engine, Float32Array.from(weights.data), want.shape, output.dtype);
    const wanted = learnt.map((i) => tensors[i]!);
    return [output, grad(output, wanted, { gradOutput })] as const;
  });
  const what = `${op.name} ${JSON.stringify(specs.map((s) => s.shape))} ${JSON.stringify(attrs)}`;
  assert.equal([...got.shape], [...want.shape], `${what}: shape`);
  const values = await Promise.all([got, ...gradients].map((t) => t.read()));
  for (const t of [got, ...gradients]) t.dispose();
  compare(values[0]!, want.data, toleranceIn(dtype, op), what);
  for (const [k, i] of learnt.entries()) {
    const x = inputs[i]!;
    const d = direction(x, 1 + i);
    const objective = (step: number): number => {
      const moved = ndarray(
        x.shape,
        x.data.map((v, j) => v + step * d.data[j]!),
      );
      const y = op.reference(inputs.with(i, moved), attrs);
      return y.data.reduce((total, v, j) => total + v * weights.data[j]!, 0);
    };
    const [ahead, here, behind] = [objective(STEP), objective(0), objective(-STEP)];
    const slope = (ahead - behind) / (2 * STEP);
    const terms = Array.from(d.data, (v, j) => v * values[1 + k]![j]!);
    const along = terms.reduce((a, b) => a + b, 0);
    const size = terms.reduce((total, v) => total + Math.abs(v), 1);
    // At a kink (of relu, max, …) the two sides differ by more than curvature makes them; there is no gradient to check.
    fc.pre(Math.abs(ahead - 2 * here + behind) / STEP < 1e-3 * size);
    // Rounding of each element's gradient, and the second derivative that central differences leave.
    compare(
      [along],
      [slope],
      { abs: size * Math.max(ROUNDED[dtype], 4 * op.tolerance.abs), rel: 1e-4 },
      `${what}: gradient ${i}`,
    );
  }
}

const STEP = 1e-5;

/** Of gradients: a few roundings of each element. */
const ROUNDED = { f32: 2e-5, f16: 4e-3 } as const;

test.run();
